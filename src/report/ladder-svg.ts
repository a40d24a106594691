/** The memory ladder as a drawing: one stacked bar a rung, readable on light and on dark. */
import type { Footprint } from '../plan/footprint.ts'
import type { Ladder, Rung } from '../plan/ladder.ts'
import { size } from './units.ts'

interface Kind {
  readonly name: string
  readonly bytes: (f: Footprint) => number
  readonly fill: string
}

/** Colours that differ in lightness too, for those who see no hues. */
const kinds: ReadonlyArray<Kind> = [
  { name: 'weights', bytes: (f) => f.weights, fill: '#3b6fb6' },
  { name: 'gradients', bytes: (f) => f.gradients, fill: '#e0a030' },
  { name: 'optimizer', bytes: (f) => f.optimizer, fill: '#b5532a' },
  { name: 'cache', bytes: (f) => f.cache, fill: '#7b5ea7' },
  { name: 'activations', bytes: (f) => f.activations, fill: '#4f9d69' },
  { name: 'workspace', bytes: (f) => f.workspace + f.padding, fill: '#93a1ad' },
  { name: 'context', bytes: (f) => f.context, fill: '#5b6670' },
]

const WIDTH = 900
const LABEL = 190
const TOTAL = 90
const ROW = 34
const BAR = 22
const TOP = 84

const escape = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')

const text = (x: number, y: number, body: string, more = ''): string =>
  `<text x="${x}" y="${y}"${more}>${escape(body)}</text>`

const legend = (shown: ReadonlyArray<Kind>): ReadonlyArray<string> =>
  shown.flatMap((k, i) => {
    const x = LABEL + i * 110
    return [
      `<rect x="${x}" y="46" width="12" height="12" rx="2" fill="${k.fill}"/>`,
      text(x + 18, 56, k.name),
    ]
  })

const barOf = (r: Rung, y: number, perByte: number, shown: ReadonlyArray<Kind>) => {
  let x = LABEL
  const pieces = shown.flatMap((k) => {
    const bytes = k.bytes(r.footprint)
    const width = bytes * perByte
    const piece = `<rect x="${x.toFixed(2)}" y="${y}" width="${width.toFixed(2)}" height="${BAR}" fill="${k.fill}"><title>${k.name}: ${size(bytes)}</title></rect>`
    x += width
    return bytes > 0 ? [piece] : []
  })
  return [
    text(LABEL - 12, y + 16, r.name, ' text-anchor="end"'),
    ...pieces,
    text(Math.ceil(x) + 8, y + 16, size(r.footprint.total), ' class="total"'),
  ]
}

const STYLE = [
  'text{font:13px system-ui,sans-serif;fill:#1f2328}',
  '.title{font-size:16px;font-weight:600}.total{font-weight:600}',
  '@media(prefers-color-scheme:dark){text{fill:#e6edf3}}',
].join('')

/** A whole SVG file. */
export const ladderSvg = (l: Ladder): string => {
  const shown = kinds.filter((k) => l.rungs.some((r) => k.bytes(r.footprint) > 0))
  const most = Math.max(...l.rungs.map((r) => r.footprint.total))
  const perByte = (WIDTH - LABEL - TOTAL) / most
  const height = TOP + l.rungs.length * ROW + 12
  const { rows, length } = l.rungs.at(-1)!.shapes
  const title = `${l.model}: memory of a training step, ${rows} × ${length} tokens`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}">`,
    `<style>${STYLE}</style>`,
    text(16, 26, title, ' class="title"'),
    ...legend(shown),
    ...l.rungs.flatMap((r, i) => barOf(r, TOP + i * ROW, perByte, shown)),
    '</svg>',
    '',
  ].join('\n')
}
