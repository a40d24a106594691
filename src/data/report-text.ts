/** The data report as lines of text. */
import { count as number, plural } from '../report/units.ts'
import type { Distribution } from './distribution.ts'
import { findingLines } from './findings-text.ts'
import type { DataReport, Example, LabelReport, PackingReport, SplitReport } from './report.ts'
import { visible } from './visible.ts'

const percent = (part: number, whole: number): string =>
  `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`

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
    // Where labels are predicted there is no answer.
    ...(split.targetTokens.total === 0
      ? []
      : [line('of the prompt', split.promptTokens), line('of the answer', split.targetTokens)]),
    ...(split.rejectedTokens === null ? [] : [line('of the worse one', split.rejectedTokens)]),
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

const packingLine = ({ rowLength, batch, tokens, packed, padded }: PackingReport): string =>
  `packing into rows of ${number(rowLength)}, ${plural(batch, 'sample')} a step: ` +
  `${percent(tokens, packed)} of the computed tokens are real; padding would give ${percent(tokens, padded)}`

const tokenText = (text: string): string => `[${text.replace(/\n/g, '⏎').replace(/\t/g, '⇥')}]`

const exampleLines = ({ name, prompt, target }: Example): ReadonlyArray<string> => {
  const near = 12
  const head = prompt.length > near ? '… ' : ''
  const tail = target.length > near ? ' …' : ''
  if (target.length === 0)
    return [
      `the end of a text, token by token (${name}):`,
      `  ${head}${prompt.slice(-near).map(tokenText).join('')}`,
    ]
  return [
    `the end of a prompt and the start of its answer, token by token (${name}):`,
    `  prompt ${head}${prompt.slice(-near).map(tokenText).join('')}`,
    `  answer ${target.slice(0, near).map(tokenText).join('')}${tail}`,
  ]
}

/** Beyond this a line has no room. */
const MOST = 12

const labelLine = ({ name, counts }: LabelReport): string => {
  const shown = counts.slice(0, MOST).map(([label, n]) => `${label} ${number(n)}`)
  const more = counts.length > MOST ? `, and ${counts.length - MOST} more labels` : ''
  return `${name} of training samples: ${shown.join(', ')}${more}`
}

/** Lines without line ends; those that start with `!` deserve a look. */
export const renderReport = (report: DataReport): ReadonlyArray<string> => {
  const train = report.splits.find(({ name }) => name === 'train')
  const apart =
    report.separator === null ? '' : `, cells apart by ${JSON.stringify(report.separator)}`
  return [
    `${report.file}: ${plural(report.rows, 'row')}${apart}`,
    ...report.splits.flatMap(splitLines),
    ...(train ? ['tokens of a training sample', ...histogram(train.tokens)] : []),
    ...report.labels.map(labelLine),
    ...(report.packing ? [packingLine(report.packing)] : []),
    ...findingLines(report),
    ...(report.example ? exampleLines(report.example) : []),
  ].map(visible)
}
