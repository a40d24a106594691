/** Findings as lines of text. */
import { count as number, plural } from '../report/units.ts'
import type { Conflict } from './contents.ts'
import type { Findings, NoteReport } from './findings.ts'
import { shown, type RowList } from './row-list.ts'
import type { NoteKind } from './samples.ts'
import { visible } from './visible.ts'

/** `line 3, line 9 and 5 more`. */
const names = ({ count, first }: RowList, most: number): string => {
  const told = first.slice(0, most)
  return count > told.length
    ? `${told.join(', ')} and ${number(count - told.length)} more`
    : told.join(', ')
}

const meaning: { readonly [K in NoteKind]: string } = {
  'empty target': 'without an answer, left out',
  'nothing scored': 'whose whole answer falls to the length limit, left out',
  'prompt cut': 'with the end of the prompt cut off by max_sequence_length of the input',
  'target cut': 'with the end of the answer cut off by max_sequence_length of the output',
  'empty rejected': 'without a worse answer, left out',
  'rejected cut': 'with the end of the worse answer cut off by max_sequence_length of the output',
  'sequence cut': 'cut off at global_max_sequence_length or the context length',
  'empty prompt filled': 'without a prompt, which reads <UNK> instead',
}

const noteLine = (note: NoteReport, most: number): string => {
  const lost =
    note.tokens > 0 ? `, ${plural(note.tokens, 'token')} in all, at most ${number(note.most)}` : ''
  return `! ${plural(note.rows.count, 'row')} ${meaning[note.kind]}${lost}: ${names(note.rows, most)}`
}

const short = (text: string, length: number): string => {
  const line = text.replace(/\n/g, '⏎')
  return line.length > length ? `${line.slice(0, length)}…` : line
}

const conflictLine = ({ prompt, answers, rows }: Conflict, most: number): string =>
  `    ${names(rows, most)}: ${JSON.stringify(short(prompt, 60))} → ${answers
    .slice(0, 3)
    .map((answer) => JSON.stringify(short(answer, 30)))
    .join(' or ')}`

type When = (rows: RowList, text: string) => ReadonlyArray<string>

const whenIn =
  (most: number): When =>
  (rows, text) =>
    rows.count > 0 ? [`! ${plural(rows.count, 'row')} ${text}: ${names(rows, most)}`] : []

/** Words that were read as missing cells. */
export const missingWordLines = (
  all: Findings['missingWords'],
  most: number,
): ReadonlyArray<string> =>
  all.flatMap(({ column, words, rows }) =>
    whenIn(most)(
      rows,
      `whose "${column}" says ${words.map((word) => `"${word}"`).join(', ')} and counts as missing, ` +
        'as in Ludwig (compiler.na_as_text: true keeps it as text)',
    ).map(visible),
  )

/** How the file was read. */
const readingLines = (report: Findings, when: When, most: number): ReadonlyArray<string> => [
  ...missingWordLines(report.missingWords, most),
  ...report.repeatedKeys.flatMap(({ column, rows }) =>
    when(rows, `with a key twice in one object of "${column}", both of them kept`),
  ),
  ...(report.altered === undefined
    ? []
    : when(
        report.altered.rows,
        'whose answer the tokenizer cannot give back as it is written ' +
          `(${JSON.stringify(report.altered.written)} becomes ${JSON.stringify(report.altered.back)})`,
      )),
  ...(report.lost === undefined
    ? []
    : when(
        report.lost.rows,
        'whose prompt has characters that the tokenizer drops ' +
          `(${report.lost.characters
            .slice(0, shown)
            .map((char) => JSON.stringify(char))
            .join(', ')})`,
      )),
  ...report.idle.map(({ column, why }) => `! the column "${column}" has no effect: ${why}`),
]

/** What training would learn or hide. */
const contentLines = (report: Findings, when: When, most: number): ReadonlyArray<string> => [
  ...report.missing.flatMap(({ column, rows }) =>
    when(rows, `with nothing in "${column}", which the prompt shows as nan`),
  ),
  ...when(report.withoutEos, 'whose answer never ends, because its end was cut off'),
  ...when(report.doubleBos, 'with a second begin-of-sequence token inside the prompt'),
  ...when(report.innerEos, 'with an end-of-sequence token in the middle of the answer'),
  ...when(report.leaks, 'of validation or test with a prompt that also trains'),
  ...(report.conflicts.count > 0
    ? [
        `! ${plural(report.conflicts.count, 'prompt')} with different answers`,
        ...report.conflicts.first.map((conflict) => conflictLine(conflict, most)),
      ]
    : []),
]

/** What deserves a look, in lines that start with `!` or belong to the one before; `most` rows are named in each. */
export const findingLines = (report: Findings, most = shown): ReadonlyArray<string> => {
  const when = whenIn(most)
  return [
    ...report.notes.map((note) => noteLine(note, most)),
    ...readingLines(report, when, most),
    ...contentLines(report, when, most),
  ].map(visible)
}

/** The same in few words, one line a finding: what a run says before it begins. */
export const shortFindings = (report: Findings): ReadonlyArray<string> =>
  findingLines(report, 3).filter((line) => line.startsWith('!'))
