/** The shortest edit script between two sequences (Myers 1986). */

export type Edit =
  | { readonly _tag: 'keep'; readonly before: number; readonly after: number }
  | { readonly _tag: 'drop'; readonly before: number }
  | { readonly _tag: 'add'; readonly after: number }

/** Furthest reach on each diagonal before d = 0, 1, 2… edits, `d + 1` diagonals to either side of the middle. */
const snapshots = (
  a: ReadonlyArray<string>,
  b: ReadonlyArray<string>,
): ReadonlyArray<Int32Array> => {
  const most = a.length + b.length
  const mid = most + 1
  const reach = new Int32Array(2 * most + 3)
  const kept: Int32Array[] = []
  for (let d = 0; d <= most; d++) {
    kept.push(reach.slice(mid - d - 1, mid + d + 2))
    for (let k = -d; k <= d; k += 2) {
      const [below, above] = [reach[mid + k - 1]!, reach[mid + k + 1]!]
      const down = k === -d || (k !== d && below < above)
      let x = down ? above : below + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      reach[mid + k] = x
      if (x >= a.length && x - k >= b.length) return kept
    }
  }
  return kept
}

/** Edits in order, drops before adds where they meet. */
export const editScript = (
  a: ReadonlyArray<string>,
  b: ReadonlyArray<string>,
): ReadonlyArray<Edit> => {
  const kept = snapshots(a, b)
  const script: Edit[] = []
  let [x, y] = [a.length, b.length]
  for (let d = kept.length - 1; d > 0; d--) {
    const at = (k: number): number => kept[d]![k + d + 1]!
    const k = x - y
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1))
    // Where the edit leads to; from there on the diagonal was kept.
    const start = down ? at(k + 1) : at(k - 1) + 1
    while (x > start) script.push({ _tag: 'keep', before: --x, after: --y })
    script.push(down ? { _tag: 'add', after: --y } : { _tag: 'drop', before: --x })
  }
  while (x > 0) script.push({ _tag: 'keep', before: --x, after: --y })
  return dropsFirst(script.toReversed())
}

/** Within a run of changes, what goes before what comes. */
const dropsFirst = (script: ReadonlyArray<Edit>): ReadonlyArray<Edit> => {
  const out: Edit[] = []
  let adds: Edit[] = []
  for (const e of script) {
    if (e._tag === 'add') adds.push(e)
    else {
      if (e._tag === 'keep') {
        out.push(...adds)
        adds = []
      }
      out.push(e)
    }
  }
  return [...out, ...adds]
}
