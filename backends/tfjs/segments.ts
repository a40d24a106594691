/** Sums by id and their transpose. */
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

/** Ids as a list; those outside 0 … count − 1 become `none`. */
const listed = (n: Nodes, ids: Value, count: number, none: number): Value => {
  const list = n.reshape(ids, n.size(ids))
  const inside = n.one('LogicalAnd', [
    n.one('GreaterEqual', [list, n.words([], [0])]),
    n.one('Less', [list, n.words([], [count])]),
  ])
  return n.where(inside, list, n.words([], [none]))
}

export const segmentSum: KernelOf<'segmentSum'> = ({ n, attrs: { count }, args: [x, ids] }) => [
  n.one('UnsortedSegmentSum', [x!, listed(n, ids!, count, -1), n.words([], [count])]),
]

export const segmentTake: KernelOf<'segmentTake'> = ({ n, args: [x, ids], types }) => {
  const count = types[0]!.shape[0]!
  return [n.gather(n.concat(0, x!, n.fill([1], n.scalar(0))), listed(n, ids!, count, count))]
}
