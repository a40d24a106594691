/** Rows of JSON: objects of column names and cells. */
import * as E from 'fp-ts/lib/Either.js'
import type { Issues } from '../issue.ts'
import { assemble, type RawRow } from './assemble.ts'
import type { Cell, Remark, Table, Uses } from './cell.ts'
import { complaintIssues, type Complaint } from './complaints.ts'
import { jsonCell, numbersOf } from './json-cell.ts'
import { linesOf, members, skipBlanks, type Fault, type Member, type Span } from './json-scan.ts'

/** A row's members, wherever the file keeps them; a row that has no place of its own has no line. */
export interface Record {
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
  const rows = records.map(({ line, members: all }, row): RawRow => {
    const cells = new Map<string, Cell>()
    const where = line === undefined ? { name: `row ${row + 1}` } : { line, name: `line ${line}` }
    for (const { key: column, value } of all) {
      const excerpt = text.slice(value.from, value.to)
      const read = jsonCell(excerpt)
      if (cells.has(column)) complaints.push({ ...where, column, what: 'stands there twice' })
      cells.set(column, E.isRight(read) ? read.right.cell : null)
      if (E.isLeft(read)) {
        complaints.push({ ...where, column, what: read.left, excerpt, hint })
      } else if (read.right.repeated !== undefined)
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

const faultOf = ({ what, at }: Fault, line: (at: number) => number): Complaint => ({
  column: null,
  what,
  line: line(at),
  name: `line ${line(at)}`,
  hint,
})

/** A table with a row for each span of the text. Left: as `tableOfRecords`. */
export const readRows = (
  text: string,
  spans: ReadonlyArray<Span>,
  file: string,
  uses: Uses,
): E.Either<Issues, Table> => {
  const line = linesOf(text)
  const records: Array<Record> = []
  const wrong: Array<Complaint> = []
  for (const { from, to } of spans) {
    const row = text.slice(0, to)
    if (text[from] !== '{' || from === to) {
      const what = from === to ? 'is empty' : 'is not an object of column names and values'
      wrong.push(faultOf({ what, at: from }, line))
      continue
    }
    const read = members(row, from)
    if (E.isLeft(read)) wrong.push(faultOf(read.left, line))
    else if (skipBlanks(text, read.right.end) < to)
      wrong.push(faultOf({ what: 'has text after its `}`', at: read.right.end }, line))
    else records.push({ line: line(from), members: read.right.items })
  }
  return tableOfRecords(text, file, uses, records, wrong)
}
