/** Decoded weights that stay from the forward to the backward, where the target has room for them: the other side of recomputation. */
import type { Place } from '../../../ir/graph.ts'
import { usualRoom, type Context } from './context.ts'
import type { Key } from './step.ts'

const layerOf = (p: Place): number | null => {
  const found = /^layers\.(\d+)\./.exec(p.scope)
  return found === null ? null : Number(found[1])
}

const counts = new WeakMap<Context, number>()
const layersOf = (c: Context): number => {
  const known = counts.get(c)
  if (known !== undefined) return known
  const n = c.fn.eqns.reduce((m, e) => Math.max(m, (layerOf(e.place) ?? -1) + 1), 0)
  counts.set(c, n)
  return n
}

const DECODED = 'decoded '
export const isKept = (key: Key): boolean => typeof key === 'string' && key.startsWith(DECODED)

/** Name of the decoded matrices of one input, one above the other, if they are kept: the last layers first, for they wait least. */
export const keptKey = (c: Context, place: Place, states: ReadonlyArray<string>): Key | null => {
  const [keep, layer] = [c.target.keep ?? usualRoom.keep, layerOf(place)]
  return keep > 0 &&
    layer !== null &&
    c.fn.minimizes !== undefined &&
    place.stage === 'forward' &&
    layer >= layersOf(c) - keep
    ? `${DECODED}${states.join(' ')}`
    : null
}
