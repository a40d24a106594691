/** The memory ladder as text. */
import type { Activation, Footprint, Weights } from '../plan/footprint.ts'
import type { Ladder, Rung } from '../plan/ladder.ts'
import type { Style } from './style.ts'
import { table, type Column } from './table.ts'
import { count, plural, size } from './units.ts'

const left = (title: string): Column => ({ title, align: 'left' })
const right = (title: string): Column => ({ title, align: 'right' })

const BAR = 24

/** A bar as long as a share of the largest rung; anything above zero shows. */
export const bar = (bytes: number, most: number): string => {
  const eighths = Math.round((BAR * 8 * bytes) / Math.max(1, most))
  const part = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]!
  return '█'.repeat(Math.floor(eighths / 8)) + part || '▏'
}

const shapeOf = ({ shapes: { rows, length } }: Rung): string =>
  `${plural(rows, 'row')} of ${plural(length, 'token')}`

/** Columns that not every ladder has. */
interface Extra {
  readonly cache: boolean
  readonly context: boolean
}

const rungRow = (r: Rung, { cache, context }: Extra, most: number): ReadonlyArray<string> => {
  const f = r.footprint
  return [
    r.name,
    size(f.weights),
    size(f.gradients),
    size(f.optimizer),
    ...(cache ? [size(f.cache)] : []),
    size(f.activations),
    size(f.workspace + f.padding),
    ...(context ? [size(f.context)] : []),
    size(f.total),
    bar(f.total, most),
  ]
}

const rungTable = (l: Ladder): ReadonlyArray<string> => {
  const extra = {
    cache: l.rungs.some((r) => r.footprint.cache > 0),
    context: l.rungs.some((r) => r.footprint.context > 0),
  }
  const most = Math.max(...l.rungs.map((r) => r.footprint.total))
  return table(
    [
      left(''),
      ...['weights', 'gradients', 'optimizer'].map(right),
      ...(extra.cache ? [right('cache')] : []),
      ...['activations', 'workspace'].map(right),
      ...(extra.context ? [right('context')] : []),
      right('total'),
      left(''),
    ],
    l.rungs.map((r) => rungRow(r, extra, most)),
  )
}

const amounts = (rows: ReadonlyArray<readonly [string, number]>): ReadonlyArray<string> =>
  table(
    [left(''), right('')],
    rows.flatMap(([name, bytes]) => (bytes === 0 ? [] : [[`  ${name}`, count(bytes)]])),
  ).slice(1)

const weightLines = (w: Weights, bits: 4 | 8): ReadonlyArray<string> =>
  amounts([
    [`${bits}-bit codes`, w.codes],
    ['their scales', w.scales],
    ['scales of scales', w.nested],
    ['offsets of scales', w.offsets],
    ['16-bit weights', w.half],
    ['32-bit weights', w.full],
    ['trained weights', w.trained],
  ])

/** Bytes by a property of the activations, largest first. */
export const totals = (
  list: ReadonlyArray<Activation>,
  by: 'part' | 'op',
): ReadonlyMap<string, number> => {
  const sums = new Map<string, number>()
  for (const a of list) sums.set(a[by], (sums.get(a[by]) ?? 0) + a.bytes)
  return new Map([...sums].toSorted((a, b) => b[1] - a[1]))
}

const activationLines = ({ activations: a }: Ladder, by: 'part' | 'op'): ReadonlyArray<string> => {
  const [kept, checkpointed] = [totals(a.kept, by), totals(a.checkpointed, by)]
  const names = [...new Set([...kept.keys(), ...checkpointed.keys()])]
  return table(
    [left(`  by ${by}`), right('all kept'), right(`recompute: ${a.policy}`)],
    names.map((n) => [`  ${n}`, size(kept.get(n) ?? 0), size(checkpointed.get(n) ?? 0)]),
  )
}

const fullest = ({ peak: p }: Footprint): string =>
  `fullest in @${p.fn} at ${p.op} of ${p.scope}${p.stage === 'forward' ? '' : ` (${p.stage})`}`

const workspaceLine = (f: Footprint): string => {
  const parts = Object.entries(f.scratch).filter(([, n]) => n > 0)
  const shown = [...parts, ['alignment and gaps', f.padding] as const]
  return `workspace: ${shown.map(([name, n]) => `${name} ${size(n)}`).join(', ')}`
}

/** The rungs, and below them what the last one is made of, to the byte where that matters. */
export const renderLadder = (l: Ladder, s: Style): ReadonlyArray<string> => {
  const [head, ...rows] = rungTable(l)
  const last = l.rungs.at(-1)!
  return [
    `${s.bold(l.model)}, micro-batches of ${shapeOf(last)}`,
    '',
    s.dim(head!),
    ...rows.map((r, i) => (i === rows.length - 1 ? s.bold(r) : r)),
    '',
    `${s.bold('weights')} in bytes, ${count(l.weights.parameters)} parameters are trained`,
    ...weightLines(l.weights, l.bits),
    '',
    `${s.bold('the base')} at rest, in bytes`,
    ...amounts(l.atRest.map((w) => [`${w.name}${w.own ? ', here' : ''}`, w.bytes])),
    '',
    ...(l.activations.kept.length === 0
      ? []
      : [
          `${s.bold('activations')} that the backward reads`,
          ...activationLines(l, 'part'),
          '',
          ...activationLines(l, 'op'),
          '',
        ]),
    s.dim(`${fullest(last.footprint)}; ${workspaceLine(last.footprint)}`),
  ]
}

/** The ladder in exact bytes, for machines. */
export const ladderJson = (l: Ladder): object => {
  const byName = (list: ReadonlyArray<Activation>) => ({
    by_part: Object.fromEntries(totals(list, 'part')),
    by_op: Object.fromEntries(totals(list, 'op')),
  })
  return {
    model: l.model,
    rungs: l.rungs.map(({ name, shapes, footprint }) => ({
      name,
      rows: shapes.rows,
      length: shapes.length,
      ...footprint,
      kept: byName(footprint.kept),
    })),
    weights: l.weights,
    at_rest: Object.fromEntries(l.atRest.map((w) => [w.name, w.bytes])),
    activations: {
      kept: byName(l.activations.kept),
      checkpointed: { policy: l.activations.policy, ...byName(l.activations.checkpointed) },
    },
  }
}
