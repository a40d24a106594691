/** The ten kinds of question: how each draws its numbers, words them, and what Python answers it. */
import { distinct, int, pick, type Random } from './random.ts'

export interface Question {
  readonly instruction: string
  readonly output: string
}

export interface Kind {
  readonly name: string
  /** Draws the numbers and a wording. The answer depends on the numbers alone. */
  readonly ask: (rng: Random) => Question
}

type Wordings<Q> = readonly [(q: Q) => string, ...(readonly ((q: Q) => string)[])]

const kind = <Q>(
  name: string,
  draw: (rng: Random) => Q,
  wordings: Wordings<Q>,
  answer: (q: Q) => string,
): Kind => ({
  name,
  ask: (rng) => {
    const q = draw(rng)
    return { instruction: pick(rng, wordings)(q), output: answer(q) }
  },
})

const list = (all: readonly number[]): string => `[${all.join(', ')}]`

/** `length` numbers of one parity that lie between `low` and `high`, both included. */
interface Span {
  readonly low: number
  readonly high: number
  readonly members: readonly number[]
}

/** The bounds are members themselves or lie one beside them. */
const span =
  (parity: 0 | 1) =>
  (rng: Random): Span => {
    const first = 2 * int(rng, 1, 40) + parity
    const members = Array.from({ length: int(rng, 3, 7) }, (_, i) => first + 2 * i)
    const last = members[members.length - 1] ?? first
    return { low: first - int(rng, 0, 1), high: last + int(rng, 0, 1), members }
  }

const array = (parity: 0 | 1, word: string): Kind =>
  kind(
    word,
    span(parity),
    [
      (q) =>
        `Create an array of length ${q.members.length} which contains all ${word} numbers between ${q.low} and ${q.high}.`,
      (q) =>
        `Write an array of the ${q.members.length} ${word} numbers between ${q.low} and ${q.high}.`,
    ],
    (q) => `arr = ${list(q.members)}`,
  )

const someNumbers = (rng: Random): readonly number[] => distinct(rng, int(rng, 3, 5), 1, 99)

const words = ['hello', 'data', 'name', 'file', 'line', 'item', 'node', 'path'] as const

export const kinds: readonly [Kind, ...(readonly Kind[])] = [
  array(0, 'even'),
  array(1, 'odd'),
  kind(
    'multiples',
    (rng) => ({ k: int(rng, 2, 12), n: int(rng, 20, 99) }),
    [
      (q) => `List the multiples of ${q.k} up to ${q.n}.`,
      (q) => `Create a list of all multiples of ${q.k} up to ${q.n}.`,
    ],
    (q) => `list(range(${q.k}, ${q.n} + 1, ${q.k}))`,
  ),
  kind(
    'add',
    (rng) => int(rng, 2, 250),
    [
      (n) => `Write a function that adds ${n} to its argument.`,
      (n) => `Define a function which adds ${n} to a number.`,
    ],
    (n) => `def add_${n}(x):\n    return x + ${n}`,
  ),
  kind(
    'divisible',
    (rng) => int(rng, 2, 250),
    [
      (n) => `Write a function to check if a number is divisible by ${n}.`,
      (n) => `Define a function that tests divisibility by ${n}.`,
    ],
    (n) => `def divisible_by_${n}(x):\n    return x % ${n} == 0`,
  ),
  kind(
    'reverse',
    someNumbers,
    [(q) => `Reverse the list ${list(q)}.`, (q) => `Write code that reverses the list ${list(q)}.`],
    (q) => `${list(q)}[::-1]`,
  ),
  kind(
    'range',
    (rng) => {
      const from = int(rng, 0, 40)
      return { from, to: from + int(rng, 5, 50) }
    },
    [
      (q) => `Use a for loop to print the numbers from ${q.from} up to but not including ${q.to}.`,
      (q) => `Print each number from ${q.from} up to but not including ${q.to}.`,
    ],
    (q) => `for i in range(${q.from}, ${q.to}):\n    print(i)`,
  ),
  kind(
    'repeat',
    (rng) => ({ word: pick(rng, words), n: int(rng, 2, 30) }),
    [
      (q) => `Print the string "${q.word}" ${q.n} times.`,
      (q) => `Repeat the string "${q.word}" ${q.n} times and print it.`,
    ],
    (q) => `print("${q.word}" * ${q.n})`,
  ),
  kind(
    'maximum',
    someNumbers,
    [
      (q) => `Find the maximum of the list ${list(q)}.`,
      (q) => `Get the largest number in ${list(q)}.`,
    ],
    (q) => `max(${list(q)})`,
  ),
  kind(
    'sum',
    (rng) => int(rng, 3, 400),
    [
      (n) => `Compute the sum of the numbers from 1 to ${n}.`,
      (n) => `Add up all whole numbers from 1 to ${n}.`,
    ],
    (n) => `sum(range(1, ${n} + 1))`,
  ),
]
