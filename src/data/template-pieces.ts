/** The parts of a prompt template, each a function from a row to text. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as RA from 'fp-ts/lib/ReadonlyArray.js'
import type { TemplatePart } from '../config/template.ts'
import { issue, type Issue, type Issues } from '../issue.ts'
import { unknownColumn, type Row, type Table } from './cell.ts'
import { formatFloat, parseFloatSpec } from './format-spec.ts'
import { float, floatRepr, jsonDumps, str } from './python.ts'

export interface PromptSpec {
  readonly template?: string
  /** Fills `{__task__}`; without a template it selects Ludwig's own. */
  readonly task?: string
  /** The input feature's column: the prompt when there is neither template nor task, else what `{__sample__}` shows. */
  readonly inputColumn: string
  /** Whether rows are retrieved; without a template it selects Ludwig's few-shot one. */
  readonly retrieves?: boolean
  /** What `{__context__}` shows for a row of the table. */
  readonly context?: (row: number) => string
}

/** One part of a prompt for one row. Left: why the cell does not fit the part. */
export type Piece = (row: Row, index: number) => E.Either<string, string>

/** What a template has to know of a table. */
export type Columns = Pick<Table, 'columns' | 'separator'>

/** Where problems of a template stand in the config. */
export const templatePath = { path: 'prompt.template' } as const

/** The column of `row`, which the caller has checked to exist. */
export const cellOf = (row: Row, column: string) => row[column] ?? null

/** JSON of the input cell; Ludwig strips every quote at either end, also one that belongs to the cell. */
const samplePiece =
  (column: string): Piece =>
  (row) =>
    E.right(jsonDumps(cellOf(row, column)).replace(/^"+|"+$/g, ''))

const specialPiece = (
  field: string,
  format: string,
  spec: PromptSpec,
  data: Columns,
): E.Either<Issue, Piece> => {
  const bad = (message: string, hint?: string) =>
    E.left(issue(message, { ...templatePath, ...(hint === undefined ? {} : { hint }) }))
  if (format !== '') return bad(`{${field}} takes no format, and \`${format}\` was given`)
  if (field === '__context__') {
    const { context } = spec
    return context === undefined
      ? bad(
          'the rows that {__context__} shows are looked up for data sets alone',
          'ask with `tunec predict`',
        )
      : E.right((_, index) => E.right(context(index)))
  }
  if (field === '__task__')
    return spec.task === undefined
      ? bad('the template shows {__task__} but there is no task', 'set prompt.task')
      : E.right(() => E.right(spec.task ?? ''))
  return data.columns.includes(spec.inputColumn)
    ? E.right(samplePiece(spec.inputColumn))
    : E.left({ ...unknownColumn(spec.inputColumn, data), ...templatePath })
}

/** Ludwig casts a column once for all its places, as its last place asks: `{x} {x:.1f}` shows `3.0 3.0`. */
const columnPiece = (
  column: string,
  format: string,
  lastFormat: string,
): E.Either<Issue, Piece> => {
  const place = format === '' ? `{${column}}` : `{${column}:${format}}`
  const bad = (why: string) =>
    E.left(
      issue(`${place}: ${why}`, {
        ...templatePath,
        expected: 'no format, or one for floats such as `.2f`',
      }),
    )
  if (format === '' && lastFormat === '') return E.right((row) => E.right(str(cellOf(row, column))))
  if (lastFormat === '') return bad(`"${column}" also stands without a format, as text, later on`)
  const parsed = format === '' ? E.right(undefined) : parseFloatSpec(format)
  if (E.isLeft(parsed)) return bad(parsed.left)
  const spec = parsed.right
  return E.right((row) =>
    pipe(
      float(cellOf(row, column)),
      E.bimap(
        (why) => `${place}: ${why}`,
        (x) => (spec === undefined ? floatRepr(x) : formatFloat(x, spec)),
      ),
    ),
  )
}

/** Placeholders that are not columns. */
export const isSpecial = (field: string): boolean =>
  field === '__sample__' || field === '__task__' || field === '__context__'

/** The parts of a template as functions of a row. Left: every placeholder that cannot be filled. */
export const pieces = (
  parts: ReadonlyArray<TemplatePart>,
  spec: PromptSpec,
  data: Columns,
): E.Either<Issues, ReadonlyArray<Piece>> => {
  const lastFormats = new Map(
    parts.flatMap((part) => ('field' in part ? [[part.field, part.spec] as const] : [])),
  )
  const read = parts.map((part): E.Either<Issue, Piece> => {
    if ('literal' in part) return E.right(() => E.right(part.literal))
    if (isSpecial(part.field)) return specialPiece(part.field, part.spec, spec, data)
    return data.columns.includes(part.field)
      ? columnPiece(part.field, part.spec, lastFormats.get(part.field) ?? '')
      : E.left({ ...unknownColumn(part.field, data), ...templatePath })
  })
  // A column that stands in several places is missing once.
  const problems = new Map(RA.lefts(read).map((i) => [JSON.stringify(i), i]))
  const [first, ...rest] = problems.values()
  return first ? E.left([first, ...rest]) : E.right(RA.rights(read))
}
