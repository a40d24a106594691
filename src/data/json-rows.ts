/** Rows of JSON: objects of column names and cells. */
import * as E from 'fp-ts/lib/Either.js'
import type { Issues } from '../issue.ts'
import { assemble, type RawRow } from './assemble.ts'
import { rowName, type Cell, type Remark, type Table, type Uses } from './cell.ts'
import { complaintIssues, type Complaint } from './complaints.ts'
import { jsonCell, numbersOf } from './json-cell.ts'
import { linesOf, members, skipBlanks, type Fault, type Member, type Span } from './json-scan.ts'

/** A row's members, wherever the file keeps them; a row that has no place of its own has no line. */
export interface Record {
  readonly name: string
  readonly line?: number
  readonly members: ReadonlyArray<Member>
}

interface Read {
  readonly rows: ReadonlyArray<RawRow>
  readonly complaints: ReadonlyArray<Complaint>
  readonly remarks: ReadonlyArray<Remark>
}

const hint =
  'JSON knows text in double quotes, numbers such as 0.5, true, false, null, [lists] and {"keys": values}'

/** Every cell, or what is wrong with it. */
const readCells = (text: string, records: ReadonlyArray<Record>): Read => {
  const complaints: Array<Complaint> = []
  const remarks: Array<Remark> = []
  const lineOf = linesOf(text)
  const rows = records.map(({ name, line, members: all }, row): RawRow => {
    const cells = new Map<string, Cell>()
    for (const { key: column, value } of all) {
      const excerpt = text.slice(value.from, value.to)
      const read = jsonCell(excerpt)
      const complain = (what: string, more: object = {}): void =>
        void complaints.push({ name, line: lineOf(value.from), column, what, ...more })
      if (cells.has(column)) complain('stands there twice')
      cells.set(column, E.isRight(read) ? read.right.cell : null)
      if (E.isLeft(read)) complain(read.left, { excerpt, hint })
      else if (read.right.repeated !== undefined)
        remarks.push({ column, row, kind: 'repeated', text: read.right.repeated })
    }
    return line === undefined ? { cells } : { line, cells }
  })
  return { rows, complaints, remarks }
}

/** Numbers of a column are read together, as pandas does. */
const withNumbers = (
  rows: ReadonlyArray<RawRow>,
  columns: ReadonlyArray<string>,
): ReadonlyArray<RawRow> => {
  const read = new Map(
    columns.map((name) => [name, numbersOf(rows.map(({ cells }) => cells.get(name) ?? null))]),
  )
  return rows.map((row, i) => ({
    ...row,
    cells: new Map(columns.map((name) => [name, read.get(name)![i]!])),
  }))
}

/** `wrong`: what could not be read as a record at all. Left: every kind of fault in a column that is used, once. */
export const tableOfRecords = (
  text: string,
  file: string,
  uses: Uses,
  records: ReadonlyArray<Record>,
  wrong: ReadonlyArray<Complaint>,
): E.Either<Issues, Table> => {
  const { rows, complaints, remarks } = readCells(text, records)
  const ordered = [...wrong, ...complaints].toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0))
  const issues = complaintIssues(ordered, uses, file)
  if (issues) return E.left(issues)
  const columns = [...new Set(rows.flatMap(({ cells }) => [...cells.keys()]))]
  return assemble(file, columns, withNumbers(rows, columns), { uses, remarks })
}

const missingKey = 'lacks a key'

/** A table with a row for each span of the text. Left: as `tableOfRecords`. */
export const readRows = (
  text: string,
  spans: ReadonlyArray<Span>,
  file: string,
  uses: Uses,
): E.Either<Issues, Table> => {
  const lineOf = linesOf(text)
  const lines = spans.map(({ from }) => lineOf(from))
  const records: Array<Record> = []
  const wrong: Array<Complaint> = []
  spans.forEach(({ from, to }, i) => {
    const name = rowName({ lines }, i)
    const complain = ({ what, at }: Fault): void =>
      void wrong.push({
        ...{ column: null, what, name, line: lineOf(at) },
        ...(what.startsWith(missingKey) ? { hint } : {}),
      })
    if (from === to) return complain({ what: 'is empty', at: from })
    if (text[from] !== '{')
      return complain({ what: 'is not an object of column names and values', at: from })
    const read = members(text.slice(0, to), from)
    if (E.isLeft(read)) return complain(read.left)
    const rest = skipBlanks(text, read.right.end)
    if (rest < to) return complain({ what: 'has text after its `}`', at: rest })
    records.push({ name, line: lines[i]!, members: read.right.items })
  })
  return tableOfRecords(text, file, uses, records, wrong)
}
