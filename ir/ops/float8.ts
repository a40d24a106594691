/** Products of 8-bit floats with a scale a row, as tensor cores take them: frozen weights in flight. */
import * as t from 'io-ts'
import { roundFloat8, scaleFloat8, type Float8 } from '../number.ts'
import { op, values, type Op } from '../op.ts'
import { fail, isFloat, ok, show, size, tensor, type TensorType } from '../type.ts'
import { flag } from '../typing.ts'

const format: t.Type<Float8> = t.keyof({ e4m3: null, e5m2: null })

export interface Float8Dot {
  readonly tb: boolean
  /** What x is rounded to. */
  readonly left: Float8
  /** What the cotangent is rounded to when the gradient by x is made. */
  readonly back: Float8
}

const matrix = (a: TensorType | undefined): a is TensorType =>
  a !== undefined && a.shape.length === 2 && isFloat(a.dtype)

/** A matrix whose lines along the contraction are rounded, each with a scale of its own. Element (line, l) lies at line·across + l·along. */
const rounded = (
  f: Float8,
  x: Float64Array,
  [lines, length]: readonly [number, number],
  [across, along]: readonly [number, number],
): Float64Array => {
  const r = new Float64Array(lines * length)
  for (let i = 0; i < lines; i++) {
    let most = 0
    for (let l = 0; l < length; l++) most = Math.max(most, Math.abs(x[i * across + l * along]!))
    const scale = scaleFloat8(f, most)
    for (let l = 0; l < length; l++)
      r[i * length + l] = roundFloat8(f, x[i * across + l * along]! / scale) * scale
  }
  return r
}

export const float8Dot: Op<Float8Dot> = op({
  doc: 'Matrix product x·op(W) with a frozen W: rows of x and columns of op(W) are rounded to 8-bit floats, each with a power of two as its scale, W to e4m3. Accumulates wide, rounds once.',
  arity: 2,
  attrs: t.strict({ tb: flag, left: format, back: format }),
  infer: ({ tb }, [x, w]) => {
    if (!matrix(x) || !matrix(w) || x.dtype !== w.dtype)
      return fail(
        `float8Dot takes two float matrices, got ${[x, w].map((a) => (a ? show(a) : '?')).join(' and ')}`,
      )
    const [k, n] = tb ? [w.shape[1]!, w.shape[0]!] : [w.shape[0]!, w.shape[1]!]
    return x.shape[1] === k
      ? ok(tensor(x.dtype, x.shape[0]!, n))
      : fail(`float8Dot contracts ${x.shape[1]} with ${k}: ${show(x)} and ${show(w)}`)
  },
  evaluate: ({ tb, left }, args, [out]) => {
    const [m, n] = [out!.shape[0]!, out!.shape[1]!]
    const k = args[0]!.type.shape[1]!
    const a = rounded(left, values(args, 0), [m, k], [k, 1])
    const b = rounded('e4m3', values(args, 1), [n, k], tb ? [k, 1] : [1, n])
    const r = new Float64Array(m * n)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let s = 0
        for (let l = 0; l < k; l++) s += a[i * k + l]! * b[j * k + l]!
        r[i * n + j] = s
      }
    return [r]
  },
  // Rounding is passed straight through. W is frozen: no gradient leads to it.
  vjp: ({ alg, attrs: { tb, back }, args: [, w], cts: [ct] }) => [
    () => alg.float8Dot({ tb: !tb, left: back, back }, ct!, w!),
    null,
  ],
  flops: (_, [x], [out]) => 2 * size(out!) * x!.shape[1]!,
  examples: [
    {
      // 17/16 lies between two numbers of e4m3 and goes to the even one, 1; so does 15/8 + 1/16 to 2.
      attrs: { tb: true, left: 'e4m3', back: 'e4m3' },
      args: [
        ['f32[2, 2]', [1.0625, 1, 0, 0]],
        ['f32[3, 2]', [1, 0, 0, 1.9375, 3, 4]],
      ],
      outs: [['f32[2, 3]', [1, 2, 7, 0, 0, 0]]],
    },
    {
      // In e5m2 a step below 2 is a quarter.
      attrs: { tb: false, left: 'e5m2', back: 'e5m2' },
      args: [
        ['f32[1, 2]', [1.125, 1.5]],
        ['f32[2, 2]', [1, 0, 0, 1]],
      ],
      outs: [['f32[1, 2]', [1, 1.5]]],
    },
  ],
})
