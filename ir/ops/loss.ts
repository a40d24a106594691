/** The vocabulary projection and the loss together: full logits never exist outside these ops. */
import { dim, op, values, type Op, type Tensor } from '../op.ts'
import { fail, isFloat, ok, show, size, tensor, type TensorType } from '../type.ts'
import { IGNORED, none, type None } from '../typing.ts'

/** Hidden rows and a vocabulary matrix of one width and float type. */
const fitsHead = (x: TensorType, w: TensorType): boolean =>
  isFloat(x.dtype) &&
  w.dtype === x.dtype &&
  x.shape.length === 2 &&
  w.shape.length === 2 &&
  x.shape[1] === w.shape[1]

const typeHead = ([x, w, targets]: ReadonlyArray<TensorType>): string | null =>
  x === undefined || w === undefined || targets === undefined
    ? 'the loss takes hidden rows, a vocabulary matrix and targets'
    : !fitsHead(x, w)
      ? `the loss: rows ${show(x)} and vocabulary ${show(w)}`
      : targets.dtype !== 'i32' || size(targets) !== x.shape[0]
        ? `the loss: targets ${show(targets)} for rows ${show(x)}`
        : null

const logits = (args: ReadonlyArray<Tensor>, row: number): Float64Array => {
  const [x, w, h] = [values(args, 0), values(args, 1), dim(args, 0, 1)]
  return new Float64Array(dim(args, 1, 0)).map((_, v) => {
    let s = 0
    for (let c = 0; c < h; c++) s += x[row * h + c]! * w[v * h + c]!
    return s
  })
}

/** Calls `visit` with the logits' cotangent (softmax − onehot)·ct of each scored row. */
const scoredRows = (
  args: ReadonlyArray<Tensor>,
  visit: (row: number, dLogits: Float64Array) => void,
): void => {
  const [targets, lse, ct] = [values(args, 2), values(args, 3), values(args, 4)]
  targets.forEach((target, row) => {
    if (target === IGNORED) return
    visit(
      row,
      logits(args, row).map(
        (l, v) => (Math.exp(l - lse[row]!) - (v === target ? 1 : 0)) * ct[row]!,
      ),
    )
  })
}

const headFlops =
  (passes: number) =>
  (_: unknown, [x, w]: ReadonlyArray<TensorType>) =>
    passes * 2 * size(x!) * w!.shape[0]!
/** One chunk of logits in f32, as a fused kernel keeps it: rows chosen so that it is no larger than x. */
const chunk = (_: unknown, [x, w]: ReadonlyArray<TensorType>): number => {
  const rows = Math.max(1, Math.ceil(size(x!) / w!.shape[0]!))
  return 4 * Math.min(rows, x!.shape[0]!) * w!.shape[0]!
}

export const linearCrossEntropy: Op<None> = op({
  doc: 'Negative log-likelihood of each row’s target under softmax(x·Wᵀ), 0 where the target is −100; also each row’s log-sum-exp.',
  arity: 3,
  attrs: none,
  infer: (_, args) => {
    const why = typeHead(args)
    const rows = tensor('f32', args[0]?.shape[0] ?? 0)
    return why === null ? ok(rows, rows) : fail(why)
  },
  evaluate: (_, args) => {
    const targets = values(args, 2)
    const [nll, lse] = [new Float64Array(targets.length), new Float64Array(targets.length)]
    targets.forEach((target, row) => {
      if (target === IGNORED) return
      const l = logits(args, row)
      const top = l.reduce((a, b) => Math.max(a, b), -Infinity)
      lse[row] = top + Math.log(l.reduce((s, x) => s + Math.exp(x - top), 0))
      nll[row] = lse[row]! - l[target]!
    })
    return [nll, lse]
  },
  vjp: ({ alg, args: [x, w, targets], outs: [, lse], cts: [ct, ctLse] }) =>
    // Like attention's, the log-sum-exp exists for the gradient ops alone.
    ct === null || ct === undefined || (ctLse !== null && ctLse !== undefined)
      ? [null, null, null]
      : [
          () => alg.linearCrossEntropyGrad(x!, w!, targets!, lse!, ct),
          () => alg.linearCrossEntropyWeightGrad(x!, w!, targets!, lse!, ct),
          null,
        ],
  flops: headFlops(1),
  workspace: chunk,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 1]', [0, 5]],
        ['f32[2, 1]', [1, 2]],
        ['i32[1, 2]', [1, IGNORED]],
      ],
      outs: [
        ['f32[2]', [Math.fround(Math.log(2)), 0]],
        ['f32[2]', [Math.fround(Math.log(2)), 0]],
      ],
    },
  ],
})

const inferGrad = (which: 0 | 1) => (_: unknown, args: ReadonlyArray<TensorType>) => {
  const why = typeHead(args)
  const rows = show(tensor('f32', args[0]?.shape[0] ?? 0))
  const fits = args.length === 5 && show(args[3]!) === rows && show(args[4]!) === rows
  return why !== null
    ? fail(why)
    : fits
      ? ok(args[which]!)
      : fail(`the loss gradient needs log-sum-exp and cotangent of type ${rows}`)
}

export const linearCrossEntropyGrad: Op<None> = op({
  doc: 'Gradient of `linearCrossEntropy` by x: (softmax − onehot)·ct·W, logits recomputed in chunks.',
  arity: 5,
  attrs: none,
  infer: inferGrad(0),
  evaluate: (_, args, [out]) => {
    const [w, h] = [values(args, 1), dim(args, 0, 1)]
    const r = new Float64Array(size(out!))
    scoredRows(args, (row, d) =>
      d.forEach((g, v) => {
        for (let c = 0; c < h; c++) r[row * h + c]! += g * w[v * h + c]!
      }),
    )
    return [r]
  },
  vjp: null,
  flops: headFlops(2),
  workspace: chunk,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1, 1]', [0]],
        ['f32[2, 1]', [1, 3]],
        ['i32[1, 1]', [1]],
        ['f32[1]', [Math.log(2)]],
        ['f32[1]', [1]],
      ],
      outs: [['f32[1, 1]', [-1]]],
    },
  ],
})

export const linearCrossEntropyWeightGrad: Op<None> = op({
  doc: 'Gradient of `linearCrossEntropy` by W: (softmax − onehot)ᵀ·ct·x, logits recomputed in chunks.',
  arity: 5,
  attrs: none,
  infer: inferGrad(1),
  evaluate: (_, args, [out]) => {
    const [x, h] = [values(args, 0), dim(args, 0, 1)]
    const r = new Float64Array(size(out!))
    scoredRows(args, (row, d) =>
      d.forEach((g, v) => {
        for (let c = 0; c < h; c++) r[v * h + c]! += g * x[row * h + c]!
      }),
    )
    return [r]
  },
  vjp: null,
  flops: headFlops(2),
  workspace: chunk,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1, 1]', [2]],
        ['f32[2, 1]', [0, 0]],
        ['i32[1, 1]', [1]],
        ['f32[1]', [Math.log(2)]],
        ['f32[1]', [1]],
      ],
      outs: [['f32[2, 1]', [1, -1]]],
    },
  ],
})

export const linearArgmax: Op<None> = op({
  doc: 'The most likely id of each row: argmax of x·Wᵀ, the lower id on a tie; −1 where a logit is NaN or the largest is not finite.',
  arity: 2,
  attrs: none,
  infer: (_, [x, w]) =>
    x !== undefined && w !== undefined && fitsHead(x, w)
      ? ok(tensor('i32', x.shape[0]!))
      : fail('linearArgmax takes hidden rows and a vocabulary matrix'),
  evaluate: (_, args) => [
    new Float64Array(dim(args, 0, 0)).map((__, row) => {
      const l = logits(args, row)
      const id = l.reduce((best, x, v) => (x > l[best]! ? v : best), 0)
      return Number.isFinite(l[id]!) && !l.some(Number.isNaN) ? id : -1
    }),
  ],
  vjp: null,
  flops: headFlops(1),
  workspace: chunk,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1, 1]', [1]],
        ['f32[3, 1]', [1, 4, 2]],
      ],
      outs: [['i32[1]', [1]]],
    },
    {
      attrs: {},
      args: [
        ['f32[2, 1]', [1, Number.NaN]],
        ['f32[2, 1]', [3, 3]],
      ],
      outs: [['i32[2]', [0, -1]]],
    },
  ],
})
