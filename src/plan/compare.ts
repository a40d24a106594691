/** One function before and after a pass, line by line, with values under the same numbers on both sides. */
import { renumber, type FnLines, type Line } from './lines.ts'
import { editScript, type Edit } from './myers.ts'

/** One line of a comparison; `section` groups lines of one layer. */
export interface Row {
  readonly mark: ' ' | '-' | '+'
  readonly left: string
  readonly right: string
  readonly place: string
}

export const layer = (place: string): string => /^layers\.\d+/.exec(place)?.[0] ?? ''

/** Without what differs between layers that change alike. */
export const anyLayer = (text: string): string =>
  renumber(text, () => '')
    .replace(/%\d+'/g, '%')
    .replace(/layers\.\d+/g, 'layers.*')
    .replace(/salt=\d+/, 'salt=*')

const opOf = (l: Line): string => / = (\w+)/.exec(l.left)?.[1] ?? ''

/** Old and new numbers of values that are the same: of kept lines, and of those replaced by one of the same op. */
const survivors = (
  script: ReadonlyArray<Edit>,
  a: ReadonlyArray<Line>,
  b: ReadonlyArray<Line>,
): ReadonlyArray<readonly [string, string]> => {
  const bound = (x: Line, y: Line) => x.binds.map((id, i) => [id, y.binds[i] ?? id] as const)
  let dropped: Line[] = []
  return script.flatMap((e) => {
    if (e._tag === 'keep') {
      dropped = []
      return bound(a[e.before]!, b[e.after]!)
    }
    if (e._tag === 'drop') {
      dropped.push(a[e.before]!)
      return []
    }
    const after = b[e.after]!
    const before = dropped.find((l) => opOf(l) === opOf(after) && l.right === after.right)
    if (before === undefined) return []
    dropped = dropped.filter((l) => l !== before)
    return bound(before, after)
  })
}

/** Values of the old program under their new numbers; those that are gone keep the old one, with a prime. */
export const compared = (a: FnLines, b: FnLines): ReadonlyArray<Row> => {
  const script = editScript(
    a.lines.map((l) => l.key),
    b.lines.map((l) => l.key),
  )
  const now = new Map(survivors(script, a.lines, b.lines))
  const old = (l: Line): Row => ({
    ...l,
    mark: '-',
    left: renumber(l.left, (id) => now.get(id) ?? `${id}'`),
  })
  return script.flatMap((e): ReadonlyArray<Row> => {
    if (e._tag === 'drop') return [old(a.lines[e.before]!)]
    const after: Row = { ...b.lines[e.after]!, mark: '+' }
    if (e._tag === 'add') return [after]
    const before = old(a.lines[e.before]!)
    return before.left === after.left && before.right === after.right
      ? [{ ...after, mark: ' ' }]
      : [before, after]
  })
}
