// npx tsx examples/result-type/generate.ts > examples/result-type/data.csv
/** Chains of steps in words, and of what type their result is. Several words fit several types: only the chain tells. */
import { int, pick, random, type Random } from '../code-instructions/random.ts'

export const types = ['list', 'number', 'text', 'truth'] as const
export type Type = (typeof types)[number]

interface Step {
  readonly words: string
  readonly to: Type
}

const step = (to: Type, ...words: readonly [string, ...string[]]): ReadonlyArray<Step> =>
  words.map((w) => ({ words: w, to }))

/** What can be done with a value of each type, and what it becomes. */
const steps: { readonly [T in Type]: ReadonlyArray<Step> } = {
  list: [
    ...step('list', 'reverse it', 'sort it', 'repeat it', 'drop its first part'),
    ...step('number', 'count it', 'add it up', 'take the largest of it'),
    ...step('truth', 'ask if it is empty', 'compare it to its reverse'),
    ...step('text', 'join it', 'write it out'),
  ],
  number: [
    ...step('number', 'double it', 'add 3 to it', 'halve it', 'negate it'),
    ...step('text', 'write it out', 'spell it'),
    ...step('truth', 'ask if it is even', 'compare it to 10'),
    ...step('list', 'count up to it'),
  ],
  text: [
    ...step('text', 'reverse it', 'repeat it', 'drop its first part', 'upper-case it'),
    ...step('number', 'count it', 'measure it'),
    ...step('list', 'split it', 'sort it'),
    ...step('truth', 'ask if it is empty', 'compare it to its reverse'),
  ],
  truth: [
    ...step('truth', 'negate it', 'ask if it is so'),
    ...step('text', 'write it out', 'spell it'),
    ...step('number', 'count it as 0 or 1'),
  ],
}

const starts: { readonly [T in Type]: (r: Random) => string } = {
  list: (r) =>
    `Take the list [${Array.from({ length: int(r, 2, 4) }, () => int(r, 0, 9)).join(', ')}]`,
  number: (r) => `Take the number ${int(r, 0, 99)}`,
  text: (r) => `Take the text "${pick(r, ['noon', 'river', 'apple', 'level', 'stone'])}"`,
  truth: (r) => `Take the truth ${pick(r, ['true', 'false'])}`,
}

export interface Row {
  readonly instruction: string
  readonly type: Type
}

export const rowOf = (r: Random): Row => {
  let type: Type = pick(r, types)
  const parts = [starts[type](r)]
  for (let n = int(r, 1, 3); n > 0; n--) {
    const next = steps[type][int(r, 0, steps[type].length - 1)]!
    parts.push(next.words)
    type = next.to
  }
  return { instruction: `${parts.join(', ')}.`, type }
}

export const sizes = { train: 800, validation: 100, test: 300 }

/** Rows of which no two are alike, in the order train, validation, test. */
export const generate = (seed: number): ReadonlyArray<Row & { readonly split: number }> => {
  const r = random(seed)
  const seen = new Map<string, Row>()
  const all = sizes.train + sizes.validation + sizes.test
  while (seen.size < all) {
    const row = rowOf(r)
    seen.set(row.instruction, row)
  }
  return [...seen.values()].map((row, i) => ({
    ...row,
    split: i < sizes.train ? 0 : i < sizes.train + sizes.validation ? 1 : 2,
  }))
}

export const csvOf = (rows: ReturnType<typeof generate>): string =>
  `instruction,type,split\n${rows.map((x) => `"${x.instruction.replaceAll('"', '""')}",${x.type},${x.split}\n`).join('')}`

if (process.argv[1]?.endsWith('generate.ts')) process.stdout.write(csvOf(generate(1)))
