/**
 * Writes the CSV of the bundled job: coding instructions, each with the one Python answer it has.
 * npx tsx examples/code-instructions/generate.ts [--train N] [--test N] [--seed S] > data.csv
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../../src/issue.ts'
import { kinds, type Kind, type Question } from './kinds.ts'
import { random, type Random } from './random.ts'

/** Rows of each split, spread evenly over the kinds, and the seed that decides them all. */
export interface Sizes {
  readonly train: number
  readonly validation: number
  readonly test: number
  readonly seed: number
}

/** The committed `data.csv`; `data-1000.csv` differs in `train` only. */
export const defaults: Sizes = { train: 100, validation: 20, test: 220, seed: 42 }

const keys = ['train', 'validation', 'test', 'seed'] as const

const tries = 1000

/** A question whose answer no earlier row has, so that no split gives away an answer of another. */
const fresh = (kind: Kind, rng: Random, seen: Set<string>): E.Either<Issue, Question> => {
  for (let i = 0; i < tries; i++) {
    const q = kind.ask(rng)
    if (seen.has(q.output)) continue
    seen.add(q.output)
    return E.right(q)
  }
  return E.left(
    issue(`the kind '${kind.name}' has too few different answers for so many rows`, {
      expected: 'no two rows with one answer',
      hint: 'ask for fewer rows, or widen its numbers in kinds.ts',
    }),
  )
}

const cell = (text: string): string =>
  /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

/**
 * The CSV with columns `instruction`, `output`, `split` (0 train, 1 validation, 2 test). The held-out
 * rows are drawn first: they stay the same whatever `train` is, and fewer train rows are the first of more.
 */
export const generate = (sizes: Sizes): E.Either<Issue, string> => {
  const rng = random(sizes.seed)
  const seen = new Set<string>()
  const splits = [
    [2, sizes.test],
    [1, sizes.validation],
    [0, sizes.train],
  ] as const
  const parts: string[] = []
  for (const [split, rows] of splits) {
    const lines: string[] = []
    for (let i = 0; i < rows; i++) {
      const q = fresh(kinds[i % kinds.length] ?? kinds[0], rng, seen)
      if (E.isLeft(q)) return q
      lines.push(`${cell(q.right.instruction)},${cell(q.right.output)},${split}\n`)
    }
    parts.unshift(lines.join(''))
  }
  return E.right(`instruction,output,split\n${parts.join('')}`)
}

const whole = (key: keyof Sizes, text: string): E.Either<Issue, Partial<Sizes>> =>
  /^\d{1,9}$/.test(text)
    ? E.right({ [key]: Number(text) })
    : E.left(issue(`--${key} is '${text}'`, { expected: 'a whole number of at most nine digits' }))

/** Reads `--train 1000 --seed 7` and the like; what is not given keeps its default. */
const sizesFrom = (argv: readonly string[]): E.Either<Issue, Sizes> => {
  let sizes = defaults
  for (let i = 0; i < argv.length; i += 2) {
    const key = keys.find((k) => `--${k}` === argv[i])
    const expected = `${keys.map((k) => `--${k} N`).join(', ')}`
    if (key === undefined) return E.left(issue(`unknown option '${argv[i]}'`, { expected }))
    const given = whole(key, argv[i + 1] ?? '')
    if (E.isLeft(given)) return given
    sizes = { ...sizes, ...given.right }
  }
  return E.right(sizes)
}

const main = (): void => {
  const csv = E.chain(generate)(sizesFrom(process.argv.slice(2)))
  if (E.isRight(csv)) process.stdout.write(csv.right)
  else {
    const { message, expected, hint } = csv.left
    const lines = [
      message,
      `expected: ${expected}`,
      ...(hint === undefined ? [] : [`hint: ${hint}`]),
    ]
    process.stderr.write(`${lines.join('\n  ')}\n`)
    process.exitCode = 2
  }
}

const script = process.argv[1]
if (script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url)) main()
