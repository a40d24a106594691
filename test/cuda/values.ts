/** Random tensors that are the same in every run. */
import { round } from '../../ir/number.ts'
import type { Tensor } from '../../ir/op.ts'
import { size, type Plain, type TensorType } from '../../ir/type.ts'

export const generator = (seed: number) => {
  let state = seed >>> 0
  /** In (0, 1): mulberry32. */
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return (((x ^ (x >>> 14)) >>> 0) + 0.5) / 2 ** 32
  }
  const filled = (type: TensorType, f: () => number): Tensor => ({
    type,
    data: new Float64Array(size(type)).map(() => round[type.dtype as Plain](f())),
  })
  return {
    uniform,
    normal: (type: TensorType, deviation = 1): Tensor =>
      filled(
        type,
        () => deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
      ),
    /** Integers in [from, to). */
    ints: (type: TensorType, from: number, to: number): Tensor =>
      filled(type, () => from + Math.floor(uniform() * (to - from))),
  }
}
