/** Sums over the elements that share an id, and their transpose: what turns losses of tokens into those of sequences. */
import * as t from 'io-ts'
import { op, values, type Op } from '../op.ts'
import { fail, ok, show, size, tensor } from '../type.ts'

export const segmentSum: Op<{ count: number }> = op({
  doc: 'Sums of the elements of x with id 0, 1, … count − 1: f32[n] and n ids to f32[count]; an id outside of these counts nowhere.',
  arity: 2,
  attrs: t.strict({ count: t.number }),
  infer: ({ count }, [x, ids]) =>
    x !== undefined &&
    ids !== undefined &&
    x.dtype === 'f32' &&
    x.shape.length === 1 &&
    ids.dtype === 'i32' &&
    ids.shape.length > 0 &&
    size(ids) === size(x)
      ? ok(tensor('f32', count))
      : fail(
          `segmentSum takes f32[n] and n ids, got ${[x, ids].flatMap((a) => (a === undefined ? [] : [show(a)])).join(' and ')}`,
        ),
  evaluate: ({ count }, args) => {
    const [x, ids] = [values(args, 0), values(args, 1)]
    const r = new Float64Array(count)
    ids.forEach((id, i) => {
      if (id >= 0 && id < count) r[id]! += x[i]!
    })
    return [r]
  },
  vjp: ({ alg, args: [, ids], cts: [ct] }) => [() => alg.segmentTake(ct!, ids!), null],
  flops: (_, [x]) => size(x!),
  examples: [
    {
      attrs: { count: 2 },
      args: [
        ['f32[4]', [1, 2, 4, 8]],
        ['i32[2, 2]', [1, 0, -1, 1]],
      ],
      outs: [['f32[2]', [2, 9]]],
    },
  ],
})

export const segmentTake: Op<Record<never, never>> = op({
  doc: 'The element of x at each id, 0 where there is none: f32[m] and n ids to f32[n].',
  arity: 2,
  attrs: t.strict({}),
  infer: (_, [x, ids]) =>
    x !== undefined &&
    ids !== undefined &&
    x.dtype === 'f32' &&
    x.shape.length === 1 &&
    ids.dtype === 'i32' &&
    ids.shape.length > 0
      ? ok(tensor('f32', size(ids)))
      : fail('segmentTake takes f32[m] and ids'),
  evaluate: (_, args) => {
    const [x, ids] = [values(args, 0), values(args, 1)]
    return [Float64Array.from(ids, (id) => x[id] ?? 0)]
  },
  vjp: ({ alg, args: [, ids], types: [x], cts: [ct] }) => [
    () => alg.segmentSum(x!.shape[0]!, ct!, ids!),
    null,
  ],
  flops: () => 0,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [3, 5]],
        ['i32[1, 3]', [1, -1, 0]],
      ],
      outs: [['f32[3]', [5, 0, 3]]],
    },
  ],
})
