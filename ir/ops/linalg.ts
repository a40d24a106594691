/** Matrix products and reductions. Activations are matrices with one row per token. */
import * as t from 'io-ts'
import { dim, op, values, type Op } from '../op.ts'
import { fail, isFloat, ok, scalar, show, size, tensor, type TensorType } from '../type.ts'
import { flag, none, type None } from '../typing.ts'

export interface Transposed {
  ta: boolean
  tb: boolean
}

/** [rows, columns] as the product sees them. */
const view = (s: TensorType, transposed: boolean): readonly [number, number] =>
  transposed ? [s.shape[1]!, s.shape[0]!] : [s.shape[0]!, s.shape[1]!]

const matrix = (a: TensorType | undefined): a is TensorType =>
  a !== undefined && a.shape.length === 2 && isFloat(a.dtype)

export const dot: Op<Transposed> = op({
  doc: 'Matrix product; `ta` and `tb` read an operand transposed. Accumulates wide, rounds once.',
  arity: 2,
  attrs: t.strict({ ta: flag, tb: flag }),
  infer: ({ ta, tb }, [a, b]) => {
    if (!matrix(a) || !matrix(b) || a.dtype !== b.dtype)
      return fail(
        `dot takes two float matrices, got ${[a, b].map((x) => (x ? show(x) : '?')).join(' and ')}`,
      )
    const [m, k] = view(a, ta)
    const [k2, n] = view(b, tb)
    return k === k2
      ? ok(tensor(a.dtype, m, n))
      : fail(`dot contracts ${k} with ${k2}: ${show(a)} and ${show(b)}`)
  },
  evaluate: ({ ta, tb }, args, [out]) => {
    const [m, n] = view(out!, false)
    const [, k] = view(args[0]!.type, ta)
    const [a, b] = [values(args, 0), values(args, 1)]
    const [ai, al] = ta ? [1, m] : [k, 1]
    const [bl, bj] = tb ? [1, k] : [n, 1]
    const r = new Float64Array(m * n)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let s = 0
        for (let l = 0; l < k; l++) s += a[i * ai + l * al]! * b[l * bl + j * bj]!
        r[i * n + j] = s
      }
    return [r]
  },
  vjp: ({ alg, attrs: { ta, tb }, args: [a, b], cts: [ct] }) => [
    () => (ta ? alg.dot({ ta: tb, tb: true }, b!, ct!) : alg.dot({ tb: !tb }, ct!, b!)),
    () => (tb ? alg.dot({ ta: true, tb: ta }, ct!, a!) : alg.dot({ ta: !ta }, a!, ct!)),
  ],
  flops: ({ ta }, [a], [out]) => 2 * size(out!) * view(a!, ta)[1],
  examples: [
    {
      attrs: { ta: false, tb: true },
      args: [
        ['f32[1, 2]', [1, 2]],
        ['f32[3, 2]', [1, 0, 0, 1, 3, 4]],
      ],
      outs: [['f32[1, 3]', [1, 2, 11]]],
    },
  ],
})

export const addRow: Op<None> = op({
  doc: 'Adds a vector to every row of a matrix (a bias).',
  arity: 2,
  attrs: none,
  infer: (_, [a, b]) =>
    matrix(a) &&
    b !== undefined &&
    b.dtype === a.dtype &&
    b.shape.length === 1 &&
    b.shape[0] === a.shape[1]
      ? ok(a)
      : fail(
          `addRow takes a matrix and a row, got ${[a, b].map((x) => (x ? show(x) : '?')).join(' and ')}`,
        ),
  evaluate: (_, args) => {
    const [n, b] = [dim(args, 0, 1), values(args, 1)]
    return [values(args, 0).map((x, i) => x + b[i % n]!)]
  },
  vjp: ({ alg, cts: [ct] }) => [() => ct!, () => alg.sumRows(ct!)],
  flops: (_, [a]) => size(a!),
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 2]', [1, 2, 3, 4]],
        ['f32[2]', [10, 20]],
      ],
      outs: [['f32[2, 2]', [11, 22, 13, 24]]],
    },
  ],
})

export const mulRow: Op<None> = op({
  doc: 'Multiplies every row of a matrix by a vector, column by column.',
  arity: 2,
  attrs: none,
  infer: (_, [a, b]) =>
    matrix(a) &&
    b !== undefined &&
    b.dtype === a.dtype &&
    b.shape.length === 1 &&
    b.shape[0] === a.shape[1]
      ? ok(a)
      : fail(
          `mulRow takes a matrix and a row, got ${[a, b].map((x) => (x ? show(x) : '?')).join(' and ')}`,
        ),
  evaluate: (_, args) => {
    const [n, b] = [dim(args, 0, 1), values(args, 1)]
    return [values(args, 0).map((x, i) => x * b[i % n]!)]
  },
  vjp: ({ alg, args: [a, b], cts: [ct] }) => [
    () => alg.mulRow(ct!, b!),
    () => alg.sumRows(alg.mul(a!, ct!)),
  ],
  flops: (_, [a]) => size(a!),
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 2]', [1, 2, 3, 4]],
        ['f32[2]', [10, -1]],
      ],
      outs: [['f32[2, 2]', [10, -2, 30, -4]]],
    },
  ],
})

export const sumRows: Op<None> = op({
  doc: 'Sum over the rows of a matrix: [m, n] to [n].',
  arity: 1,
  attrs: none,
  infer: (_, [a]) =>
    matrix(a) ? ok(tensor(a.dtype, a.shape[1]!)) : fail('sumRows takes a float matrix'),
  evaluate: (_, args, [out]) => {
    const r = new Float64Array(size(out!))
    values(args, 0).forEach((x, i) => (r[i % r.length]! += x))
    return [r]
  },
  vjp: null,
  flops: (_, [a]) => size(a!),
  examples: [{ attrs: {}, args: [['f32[2, 2]', [1, 2, 3, 4]]], outs: [['f32[2]', [4, 6]]] }],
})

export const sum: Op<None> = op({
  doc: 'Sum of all elements, in f32.',
  arity: 1,
  attrs: none,
  infer: (_, [a]) =>
    a !== undefined && isFloat(a.dtype) ? ok(scalar('f32')) : fail('sum needs floats'),
  evaluate: (_, args) => [Float64Array.of(values(args, 0).reduce((a, b) => a + b, 0))],
  vjp: ({ alg, cts: [ct], types: [a] }) => [() => alg.cast(a!.dtype, alg.spread(ct!, a!.shape))],
  flops: (_, [a]) => size(a!),
  examples: [{ attrs: {}, args: [['f32[3]', [1, 2, 3]]], outs: [['f32[]', [6]]] }],
})

export const sumSquares: Op<None> = op({
  doc: 'Sum of the squares of all elements, in f32.',
  arity: 1,
  attrs: none,
  infer: (_, [a]) =>
    a !== undefined && isFloat(a.dtype) ? ok(scalar('f32')) : fail('sumSquares needs floats'),
  evaluate: (_, args) => [Float64Array.of(values(args, 0).reduce((a, b) => a + b * b, 0))],
  vjp: ({ alg, cts: [ct], args: [a] }) => [() => alg.scaleBy(alg.scale(2, a!), ct!)],
  flops: (_, [a]) => 2 * size(a!),
  examples: [{ attrs: {}, args: [['f32[2]', [3, 4]]], outs: [['f32[]', [25]]] }],
})

export const spread: Op<{ shape: ReadonlyArray<number> }> = op({
  doc: 'A scalar repeated into a shape.',
  arity: 1,
  attrs: t.strict({ shape: t.readonlyArray(t.number) }),
  infer: ({ shape }, [a]) =>
    a !== undefined && isFloat(a.dtype) && a.shape.length === 0
      ? ok({ dtype: a.dtype, shape })
      : fail('spread takes a float scalar'),
  evaluate: (_, args, [out]) => [new Float64Array(size(out!)).fill(values(args, 0)[0]!)],
  vjp: ({ alg, cts: [ct], types: [a] }) => [() => alg.cast(a!.dtype, alg.sum(ct!))],
  flops: () => 0,
  examples: [{ attrs: { shape: [2] }, args: [['f32[]', [7]]], outs: [['f32[2]', [7, 7]]] }],
})

export const takeRows: Op<None> = op({
  doc: 'Rows at the given indices, whatever a row is: [n, …] and i32[m] to [m, …].',
  arity: 2,
  attrs: none,
  infer: (_, [a, index]) =>
    a !== undefined &&
    isFloat(a.dtype) &&
    a.shape.length > 1 &&
    index !== undefined &&
    index.dtype === 'i32' &&
    index.shape.length === 1
      ? ok(tensor(a.dtype, index.shape[0]!, ...a.shape.slice(1)))
      : fail('takeRows takes floats of rows and i32 indices'),
  evaluate: (_, args, [out]) => {
    const [a, index] = [values(args, 0), values(args, 1)]
    const d = a.length / dim(args, 0, 0)
    return [
      new Float64Array(size(out!)).map((__, i) => a[index[Math.floor(i / d)]! * d + (i % d)]!),
    ]
  },
  vjp: null,
  flops: () => 0,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 2]', [1, 2, 3, 4]],
        ['i32[1]', [1]],
      ],
      outs: [['f32[1, 2]', [3, 4]]],
    },
    {
      attrs: {},
      args: [
        ['f32[3, 2, 1]', [1, 2, 3, 4, 5, 6]],
        ['i32[3]', [2, 0, 0]],
      ],
      outs: [['f32[3, 2, 1]', [5, 6, 1, 2, 1, 2]]],
    },
  ],
})
