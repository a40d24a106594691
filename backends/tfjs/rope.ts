/** Rotary position embedding. */
import { inverseFrequencies } from '../../ir/frequencies.ts'
import { size } from '../../ir/type.ts'
import { DT } from './tf.ts'
import type { Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

export const ropeTable: KernelOf<'ropeTable'> = ({ n, attrs, args: [positions], types }) => {
  const f = inverseFrequencies(attrs)
  const column = n.cast(n.reshape(positions!, size(types[0]!), 1), DT.f32)
  const angle = n.mul(column, n.constant([1, f.length], f))
  return [n.one('Cos', [angle]), n.one('Sin', [angle])]
}

/** Halves (a, b) of each head become (a·cos − b·sin, b·cos + a·sin). */
export const rope: KernelOf<'rope'> = ({ n, attrs: { inverse }, args, types }) => {
  const [x, cos, sin] = args as [Value, Value, Value]
  const [tokens, width] = types[0]!.shape as [number, number]
  const half = types[1]!.shape[1]!
  const heads = n.reshape(x, tokens, width / (2 * half), 2 * half)
  const table = (t: Value) => n.reshape(t, tokens, 1, half)
  const [c, s] = [table(cos), table(sin)]
  const [a, b] = [n.slice(heads, 2, 0, half), n.slice(heads, 2, half, 2 * half)]
  const [as, bs] = [n.mul(a, s), n.mul(b, s)]
  const [ac, bc] = [n.mul(a, c), n.mul(b, c)]
  const turned = inverse
    ? n.concat(2, n.add(ac, bs), n.sub(bc, as))
    : n.concat(2, n.sub(ac, bs), n.add(bc, as))
  return [n.reshape(turned, tokens, width)]
}
