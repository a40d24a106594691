/** State tensors that follow one another in the arena, as one range. */
import type { Id } from '../../../../ir/graph.ts'
import { bytes, type TensorType } from '../../../../ir/type.ts'
import { aligned } from '../../../../passes/memory.ts'
import type { Places } from '../step.ts'

/** f32 values, padding between tensors with them; `first` is an index into the lists. */
export interface Range {
  readonly first: number
  readonly count: number
}

/**
 * Neighbours in the arena become one range; `ids` in every list stand for one tensor each. `tight`: only where no list
 * has padding between them, for lists that count in other units.
 */
export const rangesOf = (
  at: Places,
  lists: ReadonlyArray<ReadonlyArray<Id>>,
  type: (id: Id) => TensorType,
  tight = false,
): ReadonlyArray<Range> => {
  const ranges: Array<{ first: number; count: number; last: number }> = []
  const whole = (i: number): boolean =>
    lists.every((list) => bytes(type(list[i]!)) === aligned(bytes(type(list[i]!))))
  lists[0]!.forEach((id, i) => {
    const before = ranges.at(-1)
    const follows =
      before !== undefined &&
      (!tight || whole(before.last)) &&
      lists.every(
        (list) =>
          at.offset(list[i]!) ===
          at.offset(list[before.last]!) + aligned(bytes(type(list[before.last]!))),
      )
    if (!follows) ranges.push({ first: i, last: i, count: bytes(type(id)) / 4 })
    else {
      before.count = (at.offset(id) - at.offset(lists[0]![before.first]!) + bytes(type(id))) / 4
      before.last = i
    }
  })
  return ranges
}

export const groupBy = <T>(
  list: ReadonlyArray<T>,
  key: (x: T) => string,
): ReadonlyMap<string, T[]> => {
  const groups = new Map<string, T[]>()
  for (const x of list) groups.set(key(x), [...(groups.get(key(x)) ?? []), x])
  return groups
}
