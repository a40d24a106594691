/** Generation over caches of keys and values. */
import { DT } from './tf.ts'
import { grouped, HIDDEN, ungrouped, type Sizes } from './heads.ts'
import type { Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

/** Writes x[b, t] into cache[b, position[b, t]]; a position outside is ignored. */
export const cacheWrite: KernelOf<'cacheWrite'> = ({ n, args, types }) => {
  const [cache, x, positions] = args as [Value, Value, Value]
  const width = types[0]!.shape[2]!
  const [batch, length] = types[2]!.shape as [number, number]
  const rows = n.one('Tile', [n.reshape(n.range(batch), batch, 1, 1), n.ints(1, length, 1)])
  const at = n.concat(2, rows, n.reshape(positions, batch, length, 1))
  return [
    n.one(
      'TensorScatterUpdate',
      [cache, at, n.reshape(x, batch, length, width)],
      [n.attr.text('bad_indices_policy', 'IGNORE')],
    ),
  ]
}

/** A token at position p sees entries 0…p. */
export const cachedAttention: KernelOf<'cachedAttention'> = ({ n, attrs, args, types }) => {
  const [q, keys, values, positions] = args as [Value, Value, Value, Value]
  const [batch, capacity, width] = types[1]!.shape as [number, number, number]
  const length = types[3]!.shape[1]!
  const { heads, kvHeads: kv } = attrs
  const z: Sizes = { rows: batch, length, heads, kv, dim: width / kv }
  const cache = (x: Value) => n.transpose(n.reshape(x, batch, capacity, kv, z.dim), 0, 2, 1, 3)
  const later = n.one('Greater', [n.range(capacity), n.reshape(positions, batch, 1, length, 1)])
  const hidden = n.where(later, n.scalar(HIDDEN), n.scalar(0))
  const rows = (heads / kv) * length
  const raw = n.mul(
    n.matmul(n.reshape(grouped(n, z, q, z.dim), batch, kv, rows, z.dim), cache(keys), { tb: true }),
    n.scalar(1 / Math.sqrt(z.dim)),
  )
  const masked = n.add(n.reshape(raw, batch, heads, length, capacity), hidden)
  const p = n.one('Softmax', [n.reshape(masked, batch * heads * length, capacity)])
  const out = n.matmul(n.reshape(p, batch, kv, rows, capacity), cache(values))
  return [ungrouped(n, z, n.reshape(out, batch, kv, heads / kv, length, z.dim), z.dim)]
}

export const embedGrad: KernelOf<'embedGrad'> = ({ n, attrs, args: [tokens, ct] }) => [
  n.one('UnsortedSegmentSum', [
    ct!,
    n.reshape(tokens!, n.size(tokens!)),
    n.cast(n.words([], [attrs.vocab]), DT.i32),
  ]),
]
