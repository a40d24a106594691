/** What a session is filled and fed with where there are no weights or no data: numbers that cost what real ones do. */
import { encode } from '../../backends/bytes.ts'
import type { Feeds, Values } from '../../backends/backend.ts'
import type { Fn, State } from '../../ir/graph.ts'
import { bytes, isEncoded, parts, size, tensor } from '../../ir/type.ts'

/** A linear congruence: the same numbers in every run. */
export const random = (n: number, seed: number): Uint32Array => {
  const r = new Uint32Array(n)
  let x = seed >>> 0
  for (let i = 0; i < n; i++) r[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return r
}

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly is: T } | null = null
  return () => (made ??= { is: make() }).is
}

const noise = once(() => random(2 ** 20, 7))
const gauss = once(() => {
  const u = noise()
  return Float32Array.from({ length: u.length / 2 }, (_, i) => {
    const [a, b] = [(u[2 * i]! + 1) / 2 ** 32, u[2 * i + 1]! / 2 ** 32]
    return Math.sqrt(-2 * Math.log(a)) * Math.cos(2 * Math.PI * b)
  })
})

/** Codes of normally distributed weights of deviation 0.02: any codes, scales near 0.06. */
const encoded = (s: State): Uint8Array => {
  const out = new Uint8Array(bytes(s.type))
  const codes = new Uint8Array(noise().buffer)
  for (const p of parts(s.type)) {
    if (p.name === 'codes' || p.dtype === 'u8')
      for (let i = 0; i < p.count; i += codes.length)
        out.set(codes.subarray(0, Math.min(codes.length, p.count - i)), p.at + i)
    else new Float32Array(out.buffer, p.at, p.count).fill(p.name === 'offset' ? 0.05 : 0.005)
  }
  return out
}

/** Bytes of a frozen or trained tensor of random numbers, in the layout of its type. */
export const randomContents = (s: State): Uint8Array => {
  if (isEncoded(s.type.dtype)) return encoded(s)
  const norm = /norm/.test(s.name)
  const [g, n] = [gauss(), size(s.type)]
  // One block of numbers, again and again.
  const block = g.subarray(0, Math.min(n, g.length)).map((x) => (norm ? 1 + 0.1 * x : 0.02 * x))
  const some = encode(tensor(s.type.dtype, block.length), block)
  const out = new Uint8Array(bytes(s.type))
  for (let at = 0; at < out.length; at += some.length)
    out.set(some.subarray(0, out.length - at), at)
  return out
}

/** Full rows of random tokens, one sample a row. */
export const randomFeeds = (f: Fn, vocab: number): Feeds => {
  // Heads over kept vectors read no tokens.
  const grid = f.inputs.find((i) => i.name === 'tokens')?.type.shape ?? [1, 1]
  const [rows, length] = [grid[0]!, grid[1]!]
  const n = rows * length
  const tokens = Int32Array.from(random(n, 11), (x) => x % vocab)
  const known: Readonly<Record<string, Values>> = {
    tokens,
    positions: Int32Array.from({ length: n }, (_, i) => i % length),
    segments: new Int32Array(n).fill(1),
    targets: tokens.map((_, i) => (i % length === length - 1 ? -100 : tokens[i + 1]!)),
    inverse_count: Float32Array.of(1 / Math.max(1, n - rows)),
    seed: Int32Array.of(1),
    lengths: new Float32Array(n).fill(length),
    keys: Int32Array.from(random(n, 13), (x) => x | 0),
  }
  // Preferences weigh sequences by more; how, takes no other time.
  const more = (i: Fn['inputs'][number]): Values =>
    i.type.dtype === 'i32' ? new Int32Array(size(i.type)) : new Float32Array(size(i.type)).fill(1)
  return Object.fromEntries(f.inputs.map((i) => [i.name, known[i.name] ?? more(i)]))
}
