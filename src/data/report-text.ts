/** The data report as lines of text. */
import type { Distribution } from './distribution.ts'
import type { Conflict, RowList } from './findings.ts'
import type { DataReport, Example, NoteReport, PackingReport, SplitReport } from './report.ts'
import type { NoteKind } from './samples.ts'

const number = (n: number): string => String(n).replace(/\B(?=(?:\d{3})+$)/g, ',')

const plural = (n: number, word: string): string => `${number(n)} ${word}${n === 1 ? '' : 's'}`

const percent = (part: number, whole: number): string =>
  `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`

/** `line 3, line 9 and 5 more`. */
const names = ({ count, first }: RowList): string =>
  count > first.length
    ? `${first.join(', ')} and ${number(count - first.length)} more`
    : first.join(', ')

const quartet = ({ min, median, p95, max }: Distribution): string =>
  [min, median, p95, max].map((n) => number(n).padStart(8)).join('')

const splitLines = (split: SplitReport): ReadonlyArray<string> => {
  const kept = split.samples === split.rows ? '' : `, ${plural(split.samples, 'sample')} kept`
  const head = `${split.name}: ${plural(split.rows, 'row')}${kept}`
  if (split.samples === 0) return [head]
  const line = (what: string, d: Distribution) =>
    `  ${what.padEnd(16)}${quartet(d)}${number(d.total).padStart(12)}`
  return [
    head,
    `  ${''.padEnd(16)}${['min', 'median', '95 %', 'max'].map((w) => w.padStart(8)).join('')}${'total'.padStart(12)}`,
    line('tokens', split.tokens),
    line('of the prompt', split.promptTokens),
    line('of the answer', split.targetTokens),
    line('characters', split.characters),
  ]
}

const histogram = ({ bins }: Distribution): ReadonlyArray<string> => {
  const most = Math.max(1, ...bins.map(({ count }) => count))
  const label = (from: number, to: number) =>
    from === to ? number(from) : `${number(from)}–${number(to)}`
  const width = Math.max(0, ...bins.map(({ from, to }) => label(from, to).length))
  return bins.map(({ from, to, count }) => {
    const bar = '█'.repeat(Math.round((30 * count) / most)) || (count > 0 ? '▏' : '')
    return `  ${label(from, to).padStart(width)}  ${bar} ${number(count)}`
  })
}

const meaning: { readonly [K in NoteKind]: string } = {
  'empty target': 'without an answer, left out',
  'nothing scored': 'whose whole answer falls to the length limit, left out',
  'prompt cut': 'with the end of the prompt cut off by max_sequence_length of the input',
  'target cut': 'with the end of the answer cut off by max_sequence_length of the output',
  'sequence cut': 'cut off at global_max_sequence_length or the context length',
  'empty prompt filled': 'without a prompt, which reads <UNK> instead',
}

const noteLine = (note: NoteReport): string => {
  const lost =
    note.tokens > 0 ? `, ${plural(note.tokens, 'token')} in all, at most ${number(note.most)}` : ''
  return `! ${plural(note.rows.count, 'row')} ${meaning[note.kind]}${lost}: ${names(note.rows)}`
}

const short = (text: string, length: number): string => {
  const line = text.replace(/\n/g, '⏎')
  return line.length > length ? `${line.slice(0, length)}…` : line
}

const conflictLine = ({ prompt, answers, rows }: Conflict): string =>
  `    ${names(rows)}: ${JSON.stringify(short(prompt, 60))} → ${answers
    .slice(0, 3)
    .map((answer) => JSON.stringify(short(answer, 30)))
    .join(' or ')}`

const findingLines = (report: DataReport): ReadonlyArray<string> => {
  const when = (rows: RowList, text: string): ReadonlyArray<string> =>
    rows.count > 0 ? [`! ${plural(rows.count, 'row')} ${text}: ${names(rows)}`] : []
  const { conflicts } = report
  return [
    ...report.notes.map(noteLine),
    ...report.missing.flatMap(({ column, rows }) =>
      when(rows, `with nothing in "${column}", which the prompt shows as nan`),
    ),
    ...when(report.withoutEos, 'whose answer never ends, because its end was cut off'),
    ...when(report.doubleBos, 'with a second begin-of-sequence token inside the prompt'),
    ...when(report.innerEos, 'with an end-of-sequence token in the middle of the answer'),
    ...when(report.leaks, 'of validation or test with a prompt that also trains'),
    ...(conflicts.count > 0
      ? [
          `! ${plural(conflicts.count, 'prompt')} with different answers`,
          ...conflicts.first.map(conflictLine),
        ]
      : []),
  ]
}

const packingLine = ({ rowLength, batch, tokens, packed, padded }: PackingReport): string =>
  `packing into rows of ${number(rowLength)}, ${plural(batch, 'sample')} a step: ` +
  `${percent(tokens, packed)} of the computed tokens are real; padding would give ${percent(tokens, padded)}`

const tokenText = (text: string): string => `[${text.replace(/\n/g, '⏎').replace(/\t/g, '⇥')}]`

const exampleLines = ({ name, prompt, target }: Example): ReadonlyArray<string> => {
  const near = 12
  const head = prompt.length > near ? '… ' : ''
  const tail = target.length > near ? ' …' : ''
  return [
    `the end of a prompt and the start of its answer, token by token (${name}):`,
    `  prompt ${head}${prompt.slice(-near).map(tokenText).join('')}`,
    `  answer ${target.slice(0, near).map(tokenText).join('')}${tail}`,
  ]
}

/** Lines without line ends; those that start with `!` deserve a look. */
export const renderReport = (report: DataReport): ReadonlyArray<string> => {
  const train = report.splits.find(({ name }) => name === 'train')
  return [
    `${report.file}: ${plural(report.rows, 'row')}`,
    ...report.splits.flatMap(splitLines),
    ...(train ? ['tokens of a training sample', ...histogram(train.tokens)] : []),
    ...(report.packing ? [packingLine(report.packing)] : []),
    ...findingLines(report),
    ...(report.example ? exampleLines(report.example) : []),
  ]
}
