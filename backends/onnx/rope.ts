/** Rotary position embedding: tables of a micro-step, and the rotation by onnxruntime's own kernel. */
import type { Rope } from '../../ir/algebra.ts'
import { inverseFrequencies } from '../../ir/frequencies.ts'
import { size } from '../../ir/type.ts'
import type { Value } from './model.ts'
import { CAST, float, int, microsoft, type Site } from './site.ts'

export const ropeTable = ({
  n,
  attrs,
  args: [positions],
  types,
}: Site<Rope>): ReadonlyArray<Value> => {
  const f = inverseFrequencies(attrs)
  const column = n.cast(n.reshape(positions!, size(types[0]!), 1), CAST.f32)
  const angle = n.mul(column, n.f32([1, f.length], f))
  return [n.one('Cos', [angle]), n.one('Sin', [angle])]
}

/** onnxruntime's rotary embedding reads tables by position; ours have a row a token already. */
export const rope = (s: Site<{ inverse: boolean }>): ReadonlyArray<Value> => {
  const { n } = s
  const [tokens, width] = s.types[0]!.shape as [number, number]
  const heads = width / (2 * s.types[1]!.shape[1]!)
  const sin = s.attrs.inverse ? n.one('Neg', [s.args[2]!]) : s.args[2]!
  const at = n.reshape(n.iota(tokens), 1, tokens)
  const turned = n.one(
    'RotaryEmbedding',
    [n.reshape(s.args[0]!, 1, tokens, width), at, s.args[1]!, sin],
    { num_heads: int(heads), scale: float(1) },
    microsoft,
  )
  return [n.reshape(turned, tokens, width)]
}
