/** Comma- and tab-separated text as RFC 4180 has it: quoted cells may hold separators, quotes and line breaks. */
import { parse, type Info } from 'csv-parse/sync'
import * as E from 'fp-ts/lib/Either.js'
import { isNonEmpty } from 'fp-ts/lib/Array.js'
import { columnName } from '../config/template.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { assemble, type RawRow } from './assemble.ts'
import { isUsed, type Remark, type Table, type Uses } from './cell.ts'
import { firstIssues } from './complaints.ts'
import { missingWords } from './missing.ts'

interface Fields {
  readonly fields: ReadonlyArray<string>
  readonly line: number
}

const lf = 10
const cr = 13

/** Walks the bytes once and tells on which line each record starts, blank lines passed over. */
const lineCounter = (bytes: Uint8Array) => {
  let at = 0
  let line = 1
  const step = (): void => {
    const byte = bytes[at]
    if (byte === lf || (byte === cr && bytes[at + 1] !== lf)) line++
    at++
  }
  return {
    /** The line of the next record, given that the last one ended before byte `end`. */
    startAfter: (end: number): number => {
      while (at < end) step()
      while (bytes[at] === lf || bytes[at] === cr) step()
      return line
    },
  }
}

const syntaxIssue = (error: unknown, file: string, line: number): Issue => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const hint =
    'put a cell that holds a quote, a separator or a line break in double quotes, and double each quote inside it'
  const what = code.includes('NOT_CLOSED')
    ? 'has a quote that is never closed'
    : code.includes('OPENING_QUOTE')
      ? 'has a quote inside a cell that does not start with one'
      : code.includes('CLOSING_QUOTE')
        ? 'has text after a closing quote'
        : `cannot be read: ${error instanceof Error ? error.message : String(error)}`
  return issue(`the row that starts on line ${line} ${what}`, { file, line, hint })
}

const readRecords = (bytes: Uint8Array, delimiter: string, file: string) => {
  const records: Array<Fields> = []
  const lines = lineCounter(bytes)
  let end = 0
  return E.tryCatch(
    () => {
      parse(bytes, {
        delimiter,
        record_delimiter: ['\r\n', '\n', '\r'],
        relax_column_count: true,
        skip_empty_lines: true,
        on_record: (fields: Array<string>, info: Info) => {
          records.push({ fields, line: lines.startAfter(end) })
          end = info.bytes
          return null
        },
      })
      return records
    },
    (error) => one(syntaxIssue(error, file, lines.startAfter(end))),
  )
}

const cells = (n: number): string => `${n} ${n === 1 ? 'cell' : 'cells'}`

const ragged = (raw: Fields, width: number, file: string): Issue =>
  issue(`line ${raw.line} has ${cells(raw.fields.length)} where the header has ${width}`, {
    file,
    line: raw.line,
    expected: cells(width),
    hint: 'put a cell that holds the separator in double quotes',
  })

export interface DelimitedOptions {
  readonly uses: Uses
  /** Whether `NA`, `null` and the like are text; else they are missing, as to pandas. */
  readonly naAsText: boolean
}

/** An empty cell is missing; every other cell is kept as written (`007`, ` x `). */
const record = (
  raw: Fields,
  columns: ReadonlyArray<string>,
  isMissing: (cell: string) => boolean,
): RawRow => ({
  line: raw.line,
  cells: new Map(
    columns.map((column, i) => {
      const cell = raw.fields[i] ?? ''
      return [column, isMissing(cell) ? null : cell]
    }),
  ),
})

/** The words that count as nothing, where they stand. */
const missingRemarks = (
  rows: ReadonlyArray<Fields>,
  columns: ReadonlyArray<string>,
  { uses, naAsText }: DelimitedOptions,
): ReadonlyArray<Remark> =>
  naAsText
    ? []
    : columns.flatMap((column, i) =>
        isUsed(uses, column)
          ? rows.flatMap(({ fields }, row): ReadonlyArray<Remark> => {
              const text = fields[i] ?? ''
              return text !== '' && missingWords.has(text)
                ? [{ column, row, kind: 'missing', text }]
                : []
            })
          : [],
      )

const named = (header: ReadonlyArray<string>): ReadonlyArray<string> =>
  header.map((name, i) => name || `Unnamed: ${i}`)

/** The first record's cells; empty where it cannot be read. */
const headerOf = (bytes: Uint8Array, delimiter: string): ReadonlyArray<string> =>
  E.getOrElse((): ReadonlyArray<string> => [])(
    E.tryCatch(
      () =>
        (
          parse(bytes, {
            delimiter,
            record_delimiter: ['\r\n', '\n', '\r'],
            skip_empty_lines: true,
            to: 1,
          }) as ReadonlyArray<ReadonlyArray<string>>
        )[0] ?? [],
      () => undefined,
    ),
  )

const separators = [',', '\t', ';', '|'] as const
type Separator = (typeof separators)[number]

/** What stands between cells: `promised` by the file's name, unless another shows more of the columns that are used. */
const separatorOf = (bytes: Uint8Array, promised: Separator, uses: Uses): Separator => {
  if (uses === 'all') return promised
  const scored = [promised, ...separators].map((separator) => {
    const columns = named(headerOf(bytes, separator)).map(columnName)
    const found = [...uses].filter((name) => columns.includes(name)).length
    return { separator, found, width: columns.length }
  })
  const better = (a: (typeof scored)[number], b: (typeof scored)[number]) =>
    b.found > a.found || (b.found === 0 && a.found === 0 && a.width <= 1 && b.width > 1) ? b : a
  return scored.reduce(better).separator
}

/** A header line and the rows below it. UTF-8 without byte order mark. Left: bad quotes, ragged rows, used columns twice. */
export const parseDelimited =
  (promised: ',' | '\t') =>
  (bytes: Uint8Array, file: string, options: DelimitedOptions): E.Either<Issues, Table> => {
    const separator = separatorOf(bytes, promised, options.uses)
    const parsed = readRecords(bytes, separator, file)
    if (E.isLeft(parsed)) return parsed
    const [header, ...rows] = parsed.right
    if (header === undefined) return E.left(one(issue('the file is empty', { file })))
    const columns = named(header.fields)
    const uneven = rows
      .filter((raw) => raw.fields.length !== columns.length)
      .map((raw) => ragged(raw, columns.length, file))
    if (isNonEmpty(uneven)) return E.left(firstIssues(uneven as [Issue, ...Issue[]], file))
    const isMissing = (cell: string) => cell === '' || (!options.naAsText && missingWords.has(cell))
    return assemble(
      file,
      columns,
      rows.map((raw) => record(raw, columns, isMissing)),
      {
        uses: options.uses,
        header: header.line,
        remarks: missingRemarks(rows, columns, options),
        ...(separator === promised ? {} : { separator }),
      },
    )
  }
