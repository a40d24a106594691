/** What a pass changed, readable although it renumbers every value: layers that change alike are shown once. */
import type { Program } from '../../ir/graph.ts'
import { anyLayer, compared, layer, type Row } from './compare.ts'
import { foldRuns } from './fold.ts'
import { linesOf, type FnLines, type Line } from './lines.ts'

export interface DiffLine {
  readonly mark: ' ' | '-' | '+' | '@'
  readonly text: string
}

const CONTEXT = 2
/** Types of longer lines follow them out of their column. */
const WIDEST = 100

/** Changed rows and the unchanged ones near them; a gap is null. */
const near = (rows: ReadonlyArray<Row>): ReadonlyArray<Row | null> => {
  const shown = rows.map((_, i) =>
    rows.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some((r) => r.mark !== ' '),
  )
  return rows.flatMap((r, i) => (shown[i] ? [r] : i > 0 && shown[i - 1] ? [null] : []))
}

const sections = (rows: ReadonlyArray<Row>): ReadonlyArray<ReadonlyArray<Row>> => {
  const groups: Row[][] = []
  let last: string | null = null
  for (const r of rows) {
    if (layer(r.place) !== last) groups.push([])
    last = layer(r.place)
    groups.at(-1)!.push(r)
  }
  return groups.filter((g) => g.some((r) => r.mark !== ' '))
}

/** What makes two rows alike but for their layer. */
const alikeKey = (r: Row | null): string =>
  r === null ? '…' : r.mark + anyLayer(`${r.place}|${r.left}|${r.right}`)

const aligned = (rows: ReadonlyArray<Row | null>): ReadonlyArray<DiffLine> => {
  const folded = foldRuns(rows, alikeKey)
  const width = folded.reduce(
    (w, r) =>
      r === null || 'times' in r || r.right === ''
        ? w
        : Math.max(w, Math.min(WIDEST, r.left.length)),
    0,
  )
  let place = ''
  return folded.flatMap((r): ReadonlyArray<DiffLine> => {
    if (r === null) return [{ mark: ' ', text: '…' }]
    if ('times' in r) {
      const what = r.lines === 1 ? 'a line' : `${r.lines} lines`
      return [{ mark: ' ', text: `… ${what} like this, ${r.times} more times` }]
    }
    const text = r.right === '' ? r.left : `${r.left.padEnd(width)} : ${r.right}`
    const label = r.place !== place && r.place !== '' ? [r.place] : []
    place = r.place
    return [...label.map((p) => ({ mark: '@', text: p }) as const), { mark: r.mark, text }]
  })
}

const functionDiff = (a: FnLines, b: FnLines): ReadonlyArray<DiffLine> => {
  const seen = new Map<string, string>()
  const alike: Array<{ readonly like: string; readonly layers: string[] }> = []
  const out: Array<ReadonlyArray<DiffLine> | { readonly like: string }> = []
  for (const rows of sections(compared(a, b))) {
    const kept = near(rows)
    const key = kept.map(alikeKey).join('\n')
    const here = layer(rows[0]!.place)
    const first = seen.get(key)
    if (first === undefined || here === '') {
      seen.set(key, here)
      out.push(aligned(kept))
      continue
    }
    const known = alike.find((x) => x.like === key)
    if (known !== undefined) known.layers.push(here)
    else {
      alike.push({ like: key, layers: [here] })
      out.push({ like: key })
    }
  }
  const folded = (key: string): ReadonlyArray<DiffLine> => {
    const layers = alike.find((x) => x.like === key)!.layers
    const span = layers.length === 1 ? layers[0]! : `${layers[0]} … ${layers.at(-1)}`
    return [{ mark: '@', text: `${span}: as in ${seen.get(key)!}` }]
  }
  return out.flatMap((x) => ('like' in x ? folded(x.like) : x))
}

/** State by name: alike changes of many layers on one line, with how many. */
const stateDiff = (a: ReadonlyArray<Line>, b: ReadonlyArray<Line>): ReadonlyArray<DiffLine> => {
  const nameOf = (l: Line): string => l.left.slice(0, l.left.indexOf(' = '))
  const text = (l: Line): string => `${l.left} : ${l.right}`
  const [before, after] = [a, b].map((ls) => new Map(ls.map((l) => [nameOf(l), text(l)])))
  const groups = new Map<string, { lines: ReadonlyArray<DiffLine>; times: number }>()
  for (const name of new Set([...before!.keys(), ...after!.keys()])) {
    const [x, y] = [before!.get(name), after!.get(name)]
    if (x === y) continue
    const lines = [
      ...(x === undefined ? [] : [{ mark: '-', text: anyLayer(x) } as const]),
      ...(y === undefined ? [] : [{ mark: '+', text: anyLayer(y) } as const]),
    ]
    const key = lines.map((l) => l.mark + l.text).join('\n')
    groups.set(key, { lines, times: (groups.get(key)?.times ?? 0) + 1 })
  }
  return [...groups.values()].flatMap(({ lines, times }) =>
    lines.map((l) => (times === 1 ? l : { ...l, text: `${l.text}  × ${times}` })),
  )
}

const empty = (f: FnLines): FnLines => ({ ...f, lines: [] })

/** A function of the old program goes with the one of its name, or with the one that also minimizes. */
const pairs = (
  a: ReadonlyArray<FnLines>,
  b: ReadonlyArray<FnLines>,
): ReadonlyArray<readonly [FnLines, FnLines]> => {
  const named = (f: FnLines) => a.find((g) => g.name === f.name)
  const goal = (f: FnLines) =>
    f.minimizes ? a.find((g) => g.minimizes && !b.some((h) => h.name === g.name)) : undefined
  const partner = new Map(b.map((f) => [f, named(f) ?? goal(f)]))
  const gone = a.filter((g) => ![...partner.values()].includes(g))
  return [
    ...b.map((f) => [partner.get(f) ?? empty(f), f] as const),
    ...gone.map((g) => [g, empty(g)] as const),
  ]
}

/** Lines in which two programs differ, two unchanged lines around each; arena offsets are left out. */
export const diffPrograms = (before: Program, after: Program): ReadonlyArray<DiffLine> => {
  const [a, b] = [linesOf(before), linesOf(after)]
  const state = stateDiff(a.state, b.state)
  const fns = pairs(a.fns, b.fns).flatMap(([x, y]): ReadonlyArray<DiffLine> => {
    const lines = functionDiff(x, y)
    return lines.length === 0 ? [] : [{ mark: '@', text: `fn @${y.name}` }, ...lines]
  })
  return [...(state.length === 0 ? [] : [{ mark: '@', text: 'state' } as const, ...state]), ...fns]
}
