/** Pseudo-random numbers that depend on their key alone, so that any draw can be repeated without a history. */

/** A stream of numbers; calling a function draws the next one. */
export interface Random {
  /** An integer in [0, 2³²). */
  readonly next: () => number
  /** An integer in [0, n), every value equally likely; n from 1 to 2³². */
  readonly below: (n: number) => number
}

/** What a stream is for: the second part of a key, so that one seed serves several purposes. */
export const purpose = { sample: 1, split: 2, order: 3 } as const

/** The finaliser of MurmurHash3: every input bit reaches every output bit. */
const mix = (h: number): number => {
  const a = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  const b = Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
  return (b ^ (b >>> 16)) >>> 0
}

/** One 32-bit word from the whole key; `lane` tells the words of one key apart. */
const hash = (key: ReadonlyArray<number>, lane: number): number =>
  key.reduce(
    (h, part) => {
      const high = Math.floor(part / 2 ** 32)
      return mix(mix(Math.imul(h, 5) + (part >>> 0) + 0x9e3779b9) ^ high)
    },
    mix(lane + 1),
  )

/**
 * Doty-Humphrey's sfc32, its three words hashed from the key (safe integers), its counter from 1,
 * the first twelve draws thrown away. The numbers are part of what makes a run repeatable: a test pins them.
 */
export const random = (...key: ReadonlyArray<number>): Random => {
  let a = hash(key, 0)
  let b = hash(key, 1)
  let c = hash(key, 2)
  let counter = 1
  const next = (): number => {
    const drawn = (a + b + counter) >>> 0
    counter = (counter + 1) >>> 0
    a = (b ^ (b >>> 9)) >>> 0
    b = (c + (c << 3)) >>> 0
    c = (((c << 21) | (c >>> 11)) + drawn) >>> 0
    return drawn
  }
  const below = (n: number): number => {
    const fair = 2 ** 32 - (2 ** 32 % n)
    let drawn = next()
    while (drawn >= fair) drawn = next()
    return drawn % n
  }
  for (let i = 0; i < 12; i++) next()
  return { next, below }
}

/** The numbers 0 … n−1 in random order (Fisher–Yates, every order equally likely). */
export const permutation = (n: number, from: Random): ReadonlyArray<number> => {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = from.below(i + 1)
    const kept = order[i] as number
    order[i] = order[j] as number
    order[j] = kept
  }
  return order
}
