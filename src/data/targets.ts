/** What heads predict: columns of labels, truths and numbers as numbers, and back. */
import * as E from 'fp-ts/lib/Either.js'
import { isNonEmpty } from 'fp-ts/lib/Array.js'
import { pipe } from 'fp-ts/lib/function.js'
import type {
  BinaryOutput,
  CategoryOutput,
  LabelOutput,
  NumberOutput,
} from '../config/schema/outputs.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { isEmpty, locate, rowName, unknownColumn, type Cell, type Table } from './cell.ts'
import { firstIssues } from './complaints.ts'
import { str } from './python.ts'

/** An output feature with all that the data decides about it. */
export type Target =
  | {
      readonly kind: 'category'
      readonly of: CategoryOutput
      /** In the order of their classes: the most frequent first, of equals the one that comes first. */
      readonly classes: ReadonlyArray<string>
    }
  | {
      readonly kind: 'binary'
      readonly of: BinaryOutput
      /** How false and true are written. */
      readonly classes: readonly [string, string]
    }
  | {
      readonly kind: 'number'
      readonly of: NumberOutput
      /** A head learns (x − shift) / scale. */
      readonly shift: number
      readonly scale: number
    }

/** A target, and its value in every row of the table; null where the cell is empty. */
export interface Read {
  readonly target: Target
  readonly values: ReadonlyArray<number | null>
}

const cellsOf = (table: Table, column: string): ReadonlyArray<Cell> =>
  table.rows.map((row) => row[column] ?? null)

const textOf = (cell: Cell): string => str(cell).trim()

/** Values of some rows by how often they stand there. */
const frequencies = (
  cells: ReadonlyArray<Cell>,
  rows: ReadonlyArray<number>,
): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const row of rows) {
    const cell = cells[row] ?? null
    if (!isEmpty(cell)) counts.set(textOf(cell), (counts.get(textOf(cell)) ?? 0) + 1)
  }
  return new Map([...counts].toSorted(([, a], [, b]) => b - a))
}

/** Left: fewer than two classes, or class weights for others than these. */
const category = (
  of: CategoryOutput,
  table: Table,
  rows: ReadonlyArray<number>,
  path: string,
): E.Either<Issues, Read> => {
  const cells = cellsOf(table, of.column)
  const classes = [
    ...frequencies(
      cells,
      rows.toSorted((a, b) => a - b),
    ).keys(),
  ]
  const index = new Map(classes.map((c, i) => [c, i]))
  if (classes.length < 2)
    return E.left(
      one(
        issue(
          classes.length === 0
            ? `the column "${of.column}" is empty`
            : `every row has the label "${classes[0]}" in the column "${of.column}"`,
          { file: table.file, path: `${path}.name`, expected: 'at least two labels' },
        ),
      ),
    )
  const weights = of.loss.class_weights
  const known = [...classes, '<UNK>']
  const odd =
    weights === null
      ? undefined
      : (Object.keys(weights).find((w) => !known.includes(w)) ??
        classes.find((c) => !Object.hasOwn(weights, c)))
  return odd === undefined
    ? E.right({
        target: { kind: 'category', of, classes },
        values: cells.map((c) => (isEmpty(c) ? null : (index.get(textOf(c)) ?? null))),
      })
    : E.left(
        one(
          issue(
            index.has(odd)
              ? `class_weights has no weight for the label "${odd}"`
              : `class_weights names "${odd}", which is no label of the data`,
            { path: `${path}.loss.class_weights`, expected: `a weight for ${classes.join(', ')}` },
          ),
        ),
      )
}

/** Ludwig's words. */
const yes = ['yes', 'y', 'true', 't', '1', '1.0']
const no = ['no', 'n', 'false', 'f', '0', '0.0', '-1', '-1.0']

const truthOf = (text: string, trueLabel: string | null): boolean | null => {
  const word = text.toLowerCase()
  if (yes.includes(word)) return true
  if (no.includes(word)) return false
  return trueLabel === null ? null : text === trueLabel
}

const binary = (
  of: BinaryOutput,
  table: Table,
  rows: ReadonlyArray<number>,
  path: string,
): E.Either<Issues, Read> => {
  const cells = cellsOf(table, of.column)
  const words = [...frequencies(cells, rows).keys()]
  const trueLabel = of.preprocessing.fallback_true_label
  const file = table.file
  const truths = words.map((w) => truthOf(w, trueLabel))
  const strange = words.find((_, i) => truths[i] === null)
  if (strange !== undefined || words.length > 2)
    return E.left(
      one(
        issue(
          words.length > 2
            ? `the column "${of.column}" holds ${words.length} values: ${words.slice(0, 4).join(', ')}${words.length > 4 ? ', …' : ''}`
            : `"${strange}" in the column "${of.column}" is no usual word for true or false`,
          {
            file,
            path: words.length > 2 ? `${path}.type` : `${path}.preprocessing.fallback_true_label`,
            expected: 'two values, such as true and false, yes and no, 1 and 0',
            hint:
              words.length > 2
                ? 'write `type: category`'
                : `write \`preprocessing: {fallback_true_label: ${words.at(-1)}}\` to say which is true`,
          },
        ),
      ),
    )
  const [falses, trues] = [false, true].map((b) => words.filter((_, i) => truths[i] === b))
  return falses!.length === 1 && trues!.length === 1
    ? E.right({
        target: { kind: 'binary', of, classes: [falses![0]!, trues![0]!] },
        values: cells.map((c) => (isEmpty(c) ? null : Number(textOf(c) === trues![0]))),
      })
    : E.left(
        one(
          issue(
            `every row of the column "${of.column}" is ${trues!.length > 0 ? 'true' : 'false'}`,
            {
              file,
              path: `${path}.name`,
              expected: 'rows of both kinds',
            },
          ),
        ),
      )
}

const scaleOf = (
  { preprocessing: { normalization } }: NumberOutput,
  xs: ReadonlyArray<number>,
): { readonly shift: number; readonly scale: number } => {
  if (normalization === null || xs.length === 0) return { shift: 0, scale: 1 }
  if (normalization === 'minmax') {
    const [low, high] = xs.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [
      Infinity,
      -Infinity,
    ] as [number, number])
    return { shift: low, scale: high - low || 1 }
  }
  const mean = xs.reduce((a, x) => a + x, 0) / xs.length
  const variance = xs.reduce((a, x) => a + (x - mean) ** 2, 0) / xs.length
  return { shift: mean, scale: Math.sqrt(variance) || 1 }
}

/** `training`: the rows whose numbers decide how all are normalized. */
const number = (
  of: NumberOutput,
  table: Table,
  rows: ReadonlyArray<number>,
  training: ReadonlyArray<number>,
): E.Either<Issues, Read> => {
  const cells = cellsOf(table, of.column)
  const bad = rows.flatMap((row): ReadonlyArray<Issue> => {
    const cell = cells[row] ?? null
    const fine = isEmpty(cell) || (textOf(cell) !== '' && Number.isFinite(Number(textOf(cell))))
    return fine
      ? []
      : [
          issue(`${rowName(table, row)} has "${textOf(cell)}" in the column "${of.column}"`, {
            ...locate(table, row),
            expected: 'a number',
          }),
        ]
  })
  if (isNonEmpty(bad as Array<Issue>))
    return E.left(firstIssues(bad as unknown as [Issue, ...Issue[]], table.file))
  const values = cells.map((c) => (isEmpty(c) ? null : Number(textOf(c))))
  const seen = training.flatMap((row) => values[row] ?? [])
  return E.right({ target: { kind: 'number', of, ...scaleOf(of, seen) }, values })
}

const readOne = (
  of: LabelOutput,
  table: Table,
  rows: ReadonlyArray<number>,
  training: ReadonlyArray<number>,
  path: string,
): E.Either<Issues, Read> => {
  if (!table.columns.includes(of.column))
    return E.left(
      one({ ...unknownColumn(of.column, table), file: table.file, path: `${path}.name` }),
    )
  switch (of.type) {
    case 'category':
      return category(of, table, rows, path)
    case 'binary':
      return binary(of, table, rows, path)
    case 'number':
      return number(of, table, rows, training)
  }
}

/** Reads the columns of all heads over the rows that are used. */
export const readTargets = (
  outputs: ReadonlyArray<LabelOutput>,
  table: Table,
  rows: ReadonlyArray<number>,
  training: ReadonlyArray<number>,
): E.Either<Issues, ReadonlyArray<Read>> =>
  pipe(
    outputs.map((of, i) => ({ of, path: `output_features[${i}]` })),
    E.traverseArray(({ of, path }) => readOne(of, table, rows, training, path)),
  )

/** The value of a cell to a model that has been trained; null: no value, or a label that it does not know. */
const valueOf = (target: Target, cell: Cell): number | null => {
  if (isEmpty(cell)) return null
  const text = textOf(cell)
  if (target.kind === 'number') return Number.isFinite(Number(text)) ? Number(text) : null
  const index = target.classes.indexOf(text)
  return index < 0 ? null : index
}

/** The same targets in another table, whose columns may be missing. */
export const readKnown = (targets: ReadonlyArray<Target>, table: Table): ReadonlyArray<Read> =>
  targets.map((target) => ({
    target,
    values: cellsOf(table, target.of.column).map((cell) => valueOf(target, cell)),
  }))
