/** Random numbers added to values, as regularization. */
import * as t from 'io-ts'
import { op, values, type Op } from '../op.ts'
import { hash32 } from '../random.ts'
import { equals, fail, isFloat, ok, scalar, show, size, tensor } from '../type.ts'

/** 24 bits of a hash as a number in [−1, 1), which f32 holds exactly. */
const uniform = (hash: number): number => (hash >>> 8) / 2 ** 23 - 1

export const noise: Op<{ salt: number }> = op({
  doc: 'x + reach·u row by row, u uniform in [−1, 1) by a hash of (seed, salt, key of the row, column), so that recomputing or packing otherwise adds the same.',
  arity: 4,
  attrs: t.strict({ salt: t.number }),
  infer: (_, args) => {
    const [x, seed, keys, reach] = args
    return x !== undefined &&
      seed !== undefined &&
      keys !== undefined &&
      reach !== undefined &&
      isFloat(x.dtype) &&
      x.shape.length === 2 &&
      equals(seed, scalar('i32')) &&
      equals(keys, tensor('i32', x.shape[0]!)) &&
      equals(reach, tensor('f32', x.shape[0]!))
      ? ok(x)
      : fail(
          `noise takes a float matrix [N, H], a seed i32[], keys i32[N] and reaches f32[N], got ${args.map(show).join(', ')}`,
        )
  },
  evaluate: ({ salt }, args) => {
    const [x, keys, reach] = [values(args, 0), values(args, 2), values(args, 3)]
    const [seed, columns] = [values(args, 1)[0]!, args[0]!.type.shape[1]!]
    return [
      x.map((v, i) => {
        const row = Math.floor(i / columns)
        return v + reach[row]! * uniform(hash32(seed, salt, i % columns, keys[row]!))
      }),
    ]
  },
  vjp: ({ cts: [ct] }) => [() => ct!, null, null, null],
  flops: (_, [x]) => 2 * size(x!),
  overwrites: [0],
  examples: [
    {
      attrs: { salt: 1 },
      args: [
        ['f32[2, 1]', [1, 2]],
        ['i32[]', [9]],
        ['i32[2]', [5, -6]],
        ['f32[2]', [0, 0]],
      ],
      outs: [['f32[2, 1]', [1, 2]]],
    },
  ],
})
