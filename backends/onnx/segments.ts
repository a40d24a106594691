/** Sums by id and their transpose. Ids that count nowhere get a place behind the others. */
import { size } from '../../ir/type.ts'
import type { Kernel } from './kernels.ts'
import type { Value } from './model.ts'
import { CAST, int, type Nodes } from './site.ts'

/** Ids as a list of i64; those outside 0 … count − 1 become `count`. */
const listed = (n: Nodes, ids: Value, length: number, count: number): Value => {
  const list = n.cast(n.reshape(ids, length), CAST.i64)
  const end = n.i64(count)
  const inside = n.one('And', [
    n.one('GreaterOrEqual', [list, n.i64(0)]),
    n.one('Less', [list, end]),
  ])
  return n.one('Where', [inside, list, end])
}

export const segmentSum: Kernel<'segmentSum'> = ({
  n,
  attrs: { count },
  args: [x, ids],
  types,
}) => {
  const at = listed(n, ids!, size(types[1]!), count)
  const sums = n.one('ScatterElements', [n.filled([count + 1], 0), at, x!], {
    axis: int(0),
    reduction: { string: 'add' },
  })
  return [n.slice(sums, 0, 0, count)]
}

export const segmentTake: Kernel<'segmentTake'> = ({ n, args: [x, ids], types }) => [
  n.one('Gather', [
    n.concat(0, x!, n.filled([1], 0)),
    listed(n, ids!, size(types[1]!), types[0]!.shape[0]!),
  ]),
]
