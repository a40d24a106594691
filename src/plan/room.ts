/** How a GPU's memory is used around one compiled program: decoded weights stay where some is left, and are decoded little by little where it is short. */
import * as t from 'io-ts'
import type { Room } from '../../backends/backend.ts'
import { usualRoom } from '../../backends/cuda/lower/context.ts'
import type { Program } from '../../ir/graph.ts'
import { bytes } from '../../ir/type.ts'
import { layerOf } from '../../passes/rematerialize.ts'
import { plural, size } from '../report/units.ts'

export const roomCodec = t.type({ scratch: t.number, keep: t.number })

/** Decoding so much at once takes no more time than all at once. */
export const LEAN = 2 ** 27
/** Every weight alone: more launches and more sums in between. */
const ALONE = 0

const scratches: ReadonlyArray<number> = [usualRoom.scratch, LEAN, ALONE]

/** Bytes of the arena in a room. */
type Total = (room: Room) => number

/** Layers whose decoded weights could stay, and the mean bytes of one. */
const layersOf = (p: Program) => {
  const decoded = p.fns
    .filter((f) => f.minimizes !== undefined)
    .flatMap((f) => f.eqns)
    .filter((e) => e.op === 'dequantize' && e.place.stage === 'forward')
    .filter((e) => layerOf(e.place.scope) !== null)
  const layers = new Set(decoded.map((e) => layerOf(e.place.scope))).size
  const all = decoded.flatMap((e) => e.types).reduce((n, x) => n + bytes(x), 0)
  return { layers, each: all / layers }
}

/** The largest scratch that fits, or the one that takes least. */
const roomiest = (total: Total, limit: number): Room => {
  const rooms = scratches.map((scratch) => ({ ...usualRoom, scratch }))
  const fits = rooms.find((r) => total(r) <= limit)
  return fits ?? rooms.reduce((a, b) => (total(b) < total(a) ? b : a))
}

/** More looks than this at how much fits are not worth their time. */
const LOOKS = 6

/** Most layers that fit: as many as their bytes allow, and what that leaves again. */
const mostKept = (p: Program, total: Total, limit: number): number => {
  const { layers, each } = layersOf(p)
  let [fits, over] = [0, layers + 1]
  let keep = layers === 0 ? 0 : Math.min(layers, Math.floor((limit - total(usualRoom)) / each))
  for (let i = 0; i < LOOKS && keep > fits; i++) {
    const left = limit - total({ ...usualRoom, keep })
    if (left >= 0) fits = keep
    else over = keep
    keep = Math.min(over - 1, keep + Math.floor(left / each))
  }
  return fits
}

/** Ways to lower a program within a limit: as usual, and with what memory is left filled with decoded weights; or as small as it must be. */
export const roomsFor = (p: Program, limit: number, total: Total): ReadonlyArray<Room> => {
  const first = roomiest(total, limit)
  const keep = first.scratch === usualRoom.scratch ? mostKept(p, total, limit) : 0
  return keep === 0 ? [first] : [first, { ...first, keep }]
}

/** What is unusual about it, in words; null: nothing. */
export const roomWords = (room: Room | null): string | null =>
  room === null
    ? null
    : room.keep > 0
      ? `decoded weights of ${plural(room.keep, 'layer')} stay`
      : room.scratch === ALONE
        ? 'weights are decoded one matrix at a time'
        : room.scratch < usualRoom.scratch
          ? `at most ${size(room.scratch)} of weights are decoded at once`
          : null
