/** What is wrong with records, each kind of fault said once: where it stands first, and in which other rows. */
import { issue, type Issue, type Issues } from '../issue.ts'
import { isUsed, type Uses } from './cell.ts'

export interface Complaint {
  /** Null: the record as a whole. */
  readonly column: string | null
  /** Stands after the name of what it is about. */
  readonly what: string
  readonly hint?: string
  /** The text that is wrong. */
  readonly excerpt?: string
  readonly line?: number
  /** As `rowName` has it. */
  readonly name: string
}

const shown = 10

/** The first ten problems and, when there are more, how many. */
export const firstIssues = (found: readonly [Issue, ...Issue[]], file: string): Issues => {
  const more = found.length - shown
  const [first, ...rest] = found
  return more > 0
    ? [first, ...rest.slice(0, shown - 1), issue(`${more} more problems of this file`, { file })]
    : found
}

const others = (rest: ReadonlyArray<Complaint>): string => {
  const names = [...new Set(rest.map(({ name }) => name))]
  const more = names.length > 3 ? ` and ${names.length - 3} more` : ''
  return names.length === 0 ? '' : `; so it is with ${names.slice(0, 3).join(', ')}${more}`
}

const longest = 40

const quote = (excerpt: string): string =>
  excerpt === ''
    ? ''
    : `: \`${excerpt.length > longest ? `${excerpt.slice(0, longest)}…` : excerpt}\``

const grouped = (same: ReadonlyArray<Complaint>, file: string): Issue => {
  const { column, what, excerpt = '', line, name, hint } = same[0]!
  const subject = name.startsWith('line') ? `the row on ${name}` : name
  const of = column === null ? '' : ` has a value of ${JSON.stringify(column)} that`
  return issue(`${subject}${of} ${what}${quote(excerpt)}${others(same.slice(1))}`, {
    file,
    ...(line === undefined ? {} : { line }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** The complaints that matter as issues, in the order of the file; undefined: there are none. */
export const complaintIssues = (
  all: ReadonlyArray<Complaint>,
  uses: Uses,
  file: string,
): Issues | undefined => {
  const kinds = new Map<string, Array<Complaint>>()
  for (const c of all) {
    if (c.column !== null && !isUsed(uses, c.column)) continue
    const kind = JSON.stringify([c.column, c.what])
    const same = kinds.get(kind)
    if (same) same.push(c)
    else kinds.set(kind, [c])
  }
  const [first, ...rest] = [...kinds.values()].map((same) => grouped(same, file))
  return first && firstIssues([first, ...rest], file)
}
