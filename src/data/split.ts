/** Which rows train, validate and test: sizes as in Ludwig, membership our own. */
import * as E from 'fp-ts/lib/Either.js'
import { isNonEmpty } from 'fp-ts/lib/Array.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { firstIssues } from './complaints.ts'
import { locate, rowName, unknownColumn, type Cell, type Table } from './cell.ts'
import { permutation, purpose, random } from './random.ts'

export { sampleRows, type SampleSpec } from './sampling.ts'

export const splitNames = ['train', 'validation', 'test'] as const
export type SplitName = (typeof splitNames)[number]

/** Row indices of a table, no row twice. */
export type Split = { readonly [S in SplitName]: ReadonlyArray<number> }

/** How many there are of each. */
export const countsOf = (all: {
  readonly [S in SplitName]: ReadonlyArray<unknown>
}): { readonly [S in SplitName]: number } => ({
  train: all.train.length,
  validation: all.validation.length,
  test: all.test.length,
})

export type SplitSpec =
  | {
      readonly type: 'random'
      readonly probabilities: readonly [train: number, validation: number, test: number]
    }
  | { readonly type: 'fixed'; readonly column: string }
  | {
      readonly type: 'stratify'
      readonly column: string
      readonly probabilities: readonly [train: number, validation: number, test: number]
    }

/** A non-empty validation or test set is filled up to this many rows from the training set. */
const fewest = 3

/** Where the shuffled rows are cut: before the first for validation and before the first for test. */
export const cuts = (
  n: number,
  [train, validation, test]: readonly [number, number, number],
): readonly [number, number] => {
  let first = Math.min(n, Math.ceil(train * n))
  let second = test > 0 ? Math.min(n, first + Math.floor(validation * n)) : n
  const inValidation = second - first
  const inTest = n - second
  if (inTest > 0 && inTest < fewest) {
    const shift = Math.min(fewest - inTest, first)
    first -= shift
    second -= shift
  }
  if (inValidation > 0 && inValidation < fewest) first -= Math.min(fewest - inValidation, first)
  return [first, second]
}

const checkProbabilities = (p: readonly [number, number, number]): Issue | undefined => {
  const path = 'preprocessing.split.probabilities'
  const sum = p[0] + p[1] + p[2]
  if (p.some((x) => !(x >= 0 && x <= 1)) || Math.abs(sum - 1) > 1e-6)
    return issue(`the split probabilities ${p.join(', ')} are no shares of a whole`, {
      path,
      expected: 'train, validation and test between 0 and 1, together 1',
    })
  return p[0] === 0 ? issue('the training share is 0', { path }) : undefined
}

const shuffledRows = (rows: ReadonlyArray<number>, seed: number): ReadonlyArray<number> =>
  permutation(rows.length, random(seed, purpose.split)).map((i) => rows[i] as number)

const cutInto = (
  rows: ReadonlyArray<number>,
  probabilities: readonly [number, number, number],
): E.Either<Issues, Split> => {
  const bad = checkProbabilities(probabilities)
  if (bad) return E.left(one(bad))
  const [first, second] = cuts(rows.length, probabilities)
  return E.right({
    train: rows.slice(0, first),
    validation: rows.slice(first, second),
    test: rows.slice(second),
  })
}

/**
 * Rows in an order whose every stretch holds the values of a column in nearly the shares of the whole: the i-th of n
 * rows with one value stands at (i + ½)/n of the way.
 */
export const spreadOut = (
  rows: ReadonlyArray<number>,
  valueOf: (row: number) => string,
): ReadonlyArray<number> => {
  const members = new Map<string, Array<number>>()
  for (const row of rows) {
    const value = valueOf(row)
    const known = members.get(value)
    if (known === undefined) members.set(value, [row])
    else known.push(row)
  }
  return [...members.values()]
    .flatMap((all) => all.map((row, i) => ({ row, at: (i + 0.5) / all.length })))
    .toSorted((a, b) => a.at - b.at)
    .map(({ row }) => row)
}

const splitStratified = (
  table: Table,
  rows: ReadonlyArray<number>,
  { column, probabilities }: Extract<SplitSpec, { readonly type: 'stratify' }>,
  seed: number,
): E.Either<Issues, Split> =>
  table.columns.includes(column)
    ? cutInto(
        spreadOut(shuffledRows(rows, seed), (row) => String(table.rows[row]?.[column] ?? '')),
        probabilities,
      )
    : E.left(
        one({
          ...unknownColumn(column, table),
          file: table.file,
          path: 'preprocessing.split.column',
        }),
      )

const splitWords: ReadonlyMap<string, SplitName> = new Map([
  ['0', 'train'],
  ['1', 'validation'],
  ['2', 'test'],
  ['0.0', 'train'],
  ['1.0', 'validation'],
  ['2.0', 'test'],
  ['train', 'train'],
  ['validation', 'validation'],
  ['val', 'validation'],
  ['test', 'test'],
])

const splitOf = (cell: Cell): SplitName | undefined =>
  splitWords.get(String(cell).trim().toLowerCase())

const splitFixed = (
  table: Table,
  rows: ReadonlyArray<number>,
  column: string,
): E.Either<Issues, Split> => {
  const path = 'preprocessing.split.column'
  if (!table.columns.includes(column)) {
    return E.left(one({ ...unknownColumn(column, table), file: table.file, path }))
  }
  const members = { train: [], validation: [], test: [] } as { [S in SplitName]: Array<number> }
  const bad: Array<Issue> = []
  for (const row of rows) {
    const cell = table.rows[row]?.[column] ?? null
    const name = splitOf(cell)
    if (name) members[name].push(row)
    else
      bad.push(
        issue(
          cell === null
            ? `${rowName(table, row)} has nothing in the split column "${column}"`
            : `${rowName(table, row)} has "${cell}" in the split column "${column}"`,
          { ...locate(table, row), expected: '0, 1 or 2, or train, validation or test' },
        ),
      )
  }
  return isNonEmpty(bad)
    ? E.left(firstIssues(bad as [Issue, ...Issue[]], table.file))
    : E.right(members)
}

/**
 * Divides `rows`. `random`: shuffled by the seed, then ⌈p₀·n⌉ train, ⌊p₁·n⌋ validate (all the rest when p₂ is 0),
 * the others test; a non-empty set of fewer than 3 is filled up from train. `stratify`: of the same sizes, each with the
 * column's values in the shares of the whole, to a row. `fixed`: as the column says, in order.
 * Left: bad shares, an unknown column, a cell that names no split, no training row.
 */
export const splitRows = (
  table: Table,
  rows: ReadonlyArray<number>,
  spec: SplitSpec,
  seed: number,
): E.Either<Issues, Split> => {
  const split =
    spec.type === 'random'
      ? cutInto(shuffledRows(rows, seed), spec.probabilities)
      : spec.type === 'stratify'
        ? splitStratified(table, rows, spec, seed)
        : splitFixed(table, rows, spec.column)
  return E.isRight(split) && split.right.train.length === 0
    ? E.left(
        one(
          issue(`none of the ${rows.length} rows is left to train on`, {
            file: table.file,
            path: 'preprocessing.split',
          }),
        ),
      )
    : split
}
