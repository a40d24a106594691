/** LLM.int8() (Dettmers et al. 2022): products of 8-bit integers with a scale a row of both operands, columns with outliers apart. */
import * as t from 'io-ts'
import { factorOf, LARGEST, nearestInteger, valueOf, views } from '../int8.ts'
import { round, roundF16 } from '../number.ts'
import { op, values, type Op } from '../op.ts'
import { fail, isFloat, ok, show, size, tensor, type Float } from '../type.ts'

export interface Int8Dot {
  /** A column of x that holds a magnitude of so much, once rounded to f16, is multiplied unrounded; 0: none is. */
  readonly threshold: number
}

const threshold = t.refinement(t.number, (x) => Number.isFinite(x) && x >= 0)

interface Quantized {
  readonly codes: Float64Array
  readonly scales: Float64Array
  /** Columns that are multiplied unrounded. */
  readonly outliers: ReadonlyArray<number>
}

/** Rows of x: an outlier counts for the scale of no row, its column's codes are zero in every one. */
const quantized = (
  x: Float64Array,
  [rows, width]: readonly [number, number],
  limit: number,
): Quantized => {
  const half = x.map(roundF16)
  const apart = half.map((v) => (limit > 0 && Math.abs(v) >= limit ? 1 : 0))
  const outliers = Array.from({ length: width }, (_, l) => l).filter((l) =>
    Array.from({ length: rows }, (_, i) => apart[i * width + l]).includes(1),
  )
  const scales = new Float64Array(rows)
  const codes = new Float64Array(rows * width)
  for (let i = 0; i < rows; i++) {
    const at = i * width
    let most = 0
    for (let l = 0; l < width; l++)
      if (apart[at + l] === 0) most = Math.max(most, Math.abs(half[at + l]!))
    scales[i] = most
    const factor = factorOf(most)
    for (let l = 0; l < width; l++)
      codes[at + l] = nearestInteger(Math.fround(half[at + l]! * factor))
    for (const l of outliers) codes[at + l] = 0
  }
  return { codes, scales, outliers }
}

export const int8Dot: Op<Int8Dot> = op({
  doc: 'Matrix product x·Wᵀ with a W of 8-bit integers (LLM.int8()): rows of x are rounded to 8-bit integers with their largest magnitude as scale; columns that hold a magnitude of `threshold` or more are multiplied as they are, with W decoded and rounded to x’s dtype. Accumulates wide, rounds once.',
  arity: 2,
  attrs: t.strict({ threshold }),
  infer: (_, [x, w]) => {
    if (x === undefined || !isFloat(x.dtype) || x.shape.length !== 2)
      return fail(`int8Dot takes a float matrix, got ${x === undefined ? 'nothing' : show(x)}`)
    if (w === undefined || w.dtype !== 'int8' || w.shape.length !== 2)
      return fail(`int8Dot takes an int8 matrix, got ${w === undefined ? 'nothing' : show(w)}`)
    return x.shape[1] === w.shape[1]
      ? ok(tensor(x.dtype, x.shape[0]!, w.shape[0]!))
      : fail(`int8Dot contracts ${x.shape[1]} with ${w.shape[1]}: ${show(x)} and ${show(w)}`)
  },
  evaluate: ({ threshold: limit }, args, [out]) => {
    const [m, n] = [out!.shape[0]!, out!.shape[1]!]
    const k = args[0]!.type.shape[1]!
    const narrow = round[out!.dtype as Float]
    const x = values(args, 0)
    const w = views(args[1]!.type, Uint8Array.from(args[1]!.data))
    const { codes, scales, outliers } = quantized(x, [m, k], limit)
    const r = new Float64Array(m * n)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let s = 0
        for (let l = 0; l < k; l++) s += codes[i * k + l]! * w.codes[j * k + l]!
        let y = (s * scales[i]! * w.scales[j]!) / LARGEST ** 2
        for (const l of outliers)
          y += x[i * k + l]! * narrow(valueOf(w.codes[j * k + l]!, w.scales[j]!))
        r[i * n + j] = y
      }
    return [r]
  },
  // As bitsandbytes: rounding is passed straight through, the cotangent is multiplied unrounded. W is frozen.
  vjp: ({ alg, args: [x, w], cts: [ct] }) => [
    () => alg.dot({}, ct!, alg.dequantize(alg.typeOf(x!).dtype, w!)),
    null,
  ],
  flops: (_, [x], [out]) => 2 * size(out!) * x!.shape[1]!,
  examples: [
    {
      // The scales are the rows' largest; −31.5 goes to the even −32, 5 · 127 / 254 to 2. W is [[127, 0], [0, −4]].
      attrs: { threshold: 0 },
      args: [
        ['f32[2, 2]', [127, -31.5, 254, 5]],
        ['int8[2, 2]', [127, 0, 0, 254, 0, 0, 0xfe, 0x42, 0, 0, 0x7e, 0x43]],
      ],
      outs: [['f32[2, 2]', [16129, 128, 32258, -16]]],
    },
    {
      // 8 is beyond the threshold: its column is taken as it is in both rows. Scales are of the rest: 4 and 2. W is [[1, 1]].
      attrs: { threshold: 6 },
      args: [
        ['f32[2, 2]', [8, 4, 1.0078125, 2]],
        ['int8[1, 2]', [127, 127, 0, 0, 0, 0, 0x80, 0x3f]],
      ],
      outs: [['f32[2, 1]', [12, 3.0078125]]],
    },
  ],
})
