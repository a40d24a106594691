/** Cross-entropy over few classes: logits exist, targets are weights of classes rather than one id. */
import { dim, op, values, type Op, type Tensor } from '../op.ts'
import { fail, ok, show, size, tensor, type TensorType } from '../type.ts'
import { none, type None } from '../typing.ts'

const matrix = (a: TensorType | undefined): a is TensorType =>
  a !== undefined && a.dtype === 'f32' && a.shape.length === 2

/** With one target more than logits, the first class has the logit 0: two classes then need one logit. */
const fits = (l: TensorType, t: TensorType): boolean =>
  l.shape[0] === t.shape[0] && [0, 1].includes(t.shape[1]! - l.shape[1]!)

const mistyped = ([l, t]: ReadonlyArray<TensorType>): string | null =>
  matrix(l) && matrix(t) && fits(l, t)
    ? null
    : `the loss of classes takes f32 logits and a target for each, or one more, got ${[l, t].map((x) => (x ? show(x) : '?')).join(' and ')}`

interface Row {
  /** Of all classes, the first of which may have no logit of its own. */
  readonly logits: Float64Array
  readonly targets: Float64Array
  readonly lse: number
}

const rowOf = (args: ReadonlyArray<Tensor>, row: number): Row => {
  const [n, m] = [dim(args, 0, 1), dim(args, 1, 1)]
  const logits = new Float64Array(m)
  logits.set(values(args, 0).subarray(row * n, (row + 1) * n), m - n)
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  return {
    logits,
    targets: values(args, 1).subarray(row * m, (row + 1) * m),
    lse: top + Math.log(logits.reduce((s, x) => s + Math.exp(x - top), 0)),
  }
}

const sum = (xs: Float64Array): number => xs.reduce((a, b) => a + b, 0)

export const classCrossEntropy: Op<None> = op({
  doc: 'Σ target·−ln softmax(logits) of each row. Targets weigh classes and need not add up to 1; with one target more than logits, the first class has the logit 0.',
  arity: 2,
  attrs: none,
  infer: (_, args) => {
    const why = mistyped(args)
    return why === null ? ok(tensor('f32', args[0]!.shape[0]!)) : fail(why)
  },
  evaluate: (_, args) => [
    new Float64Array(dim(args, 0, 0)).map((__, row) => {
      const { logits, targets, lse } = rowOf(args, row)
      return sum(targets.map((t, c) => t * (lse - logits[c]!)))
    }),
  ],
  vjp: ({ alg, args: [logits, targets], cts: [ct] }) => [
    () => alg.classCrossEntropyGrad(logits!, targets!, ct!),
    null,
  ],
  flops: (_, [, t]) => 6 * size(t!),
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 2]', [0, 0, 3, 3]],
        ['f32[2, 2]', [0, 1, 1, 1]],
      ],
      outs: [['f32[2]', [Math.fround(Math.log(2)), Math.fround(2 * Math.log(2))]]],
    },
    {
      attrs: {},
      args: [
        ['f32[1, 1]', [0]],
        ['f32[1, 2]', [0, 2]],
      ],
      outs: [['f32[1]', [Math.fround(2 * Math.log(2))]]],
    },
  ],
})

export const classCrossEntropyGrad: Op<None> = op({
  doc: 'Gradient of `classCrossEntropy` by the logits: ct·(softmax·Σ target − target).',
  arity: 3,
  attrs: none,
  infer: (_, args) => {
    const why = mistyped(args)
    const [l, , ct] = args
    return why !== null
      ? fail(why)
      : ct !== undefined && show(ct) === show(tensor('f32', l!.shape[0]!))
        ? ok(l!)
        : fail('the gradient of classes needs a cotangent f32 for each row')
  },
  evaluate: (_, args, [out]) => {
    const n = dim(args, 0, 1)
    const r = new Float64Array(size(out!))
    values(args, 2).forEach((ct, row) => {
      const { logits, targets, lse } = rowOf(args, row)
      const [all, first] = [sum(targets), targets.length - n]
      for (let c = 0; c < n; c++)
        r[row * n + c] = ct * (Math.exp(logits[first + c]! - lse) * all - targets[first + c]!)
    })
    return [r]
  },
  vjp: null,
  flops: (_, [, t]) => 6 * size(t!),
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1, 2]', [0, 0]],
        ['f32[1, 2]', [0, 1]],
        ['f32[1]', [2]],
      ],
      outs: [['f32[1, 2]', [1, -1]]],
    },
    {
      attrs: {},
      args: [
        ['f32[1, 1]', [0]],
        ['f32[1, 2]', [0, 1]],
        ['f32[1]', [1]],
      ],
      outs: [['f32[1, 1]', [-0.5]]],
    },
  ],
})
