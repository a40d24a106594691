/** The parameter update: clipping, Adam, and the dynamic loss scale of f16 training. */
import * as t from 'io-ts'
import type { Adam } from '../algebra.ts'
import { op, values, type Op } from '../op.ts'
import { equals, fail, ok, scalar, show, size, type TensorType } from '../type.ts'
import { flag, none, type None } from '../typing.ts'

const isScalar = (a: TensorType | undefined): boolean => a !== undefined && equals(a, scalar('f32'))

export const clipCoefficient: Op<{ max: number }> = op({
  doc: 'min(1, max / (norm + 1e-6)) from the squared norm, as torch.nn.utils.clip_grad_norm_ has it.',
  arity: 1,
  attrs: t.strict({ max: t.number }),
  infer: (_, [s]) => (isScalar(s) ? ok(scalar('f32')) : fail('clipCoefficient takes f32[]')),
  evaluate: ({ max }, args) => [
    Float64Array.of(Math.min(1, max / (Math.sqrt(values(args, 0)[0]!) + 1e-6))),
  ],
  vjp: null,
  flops: () => 4,
  examples: [{ attrs: { max: 1 }, args: [['f32[]', [0.25]]], outs: [['f32[]', [1]]] }],
})

export const adamw: Op<Adam> = op({
  doc: 'One Adam step (Kingma and Ba 2015; decoupled decay: Loshchilov and Hutter 2019): parameter, gradient, m, v, learning rate, step ≥ 1 to the new parameter, m and v.',
  arity: 6,
  attrs: t.strict({
    beta1: t.number,
    beta2: t.number,
    eps: t.number,
    decay: t.number,
    decoupled: flag,
  }),
  infer: (_, [p, g, m, v, lr, step]) =>
    p === undefined || g === undefined || m === undefined || v === undefined
      ? fail('adamw takes parameter, gradient, m, v, learning rate and step')
      : p.dtype !== 'f32' || ![g, m, v].every((x) => equals(p, x))
        ? fail(`adamw operands differ: ${[p, g, m, v].map(show).join(', ')}`)
        : isScalar(lr) && isScalar(step)
          ? ok(p, p, p)
          : fail('adamw takes learning rate and step as f32[]'),
  evaluate: (a, args) => {
    const [p, g0, m0, v0] = [0, 1, 2, 3].map((i) => values(args, i)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    const [lr, step] = [values(args, 4)[0]!, values(args, 5)[0]!]
    const g = a.decoupled ? g0 : g0.map((x, i) => x + a.decay * p[i]!)
    const m = m0.map((x, i) => a.beta1 * x + (1 - a.beta1) * g[i]!)
    const v = v0.map((x, i) => a.beta2 * x + (1 - a.beta2) * g[i]! ** 2)
    const [c1, c2] = [1 - a.beta1 ** step, Math.sqrt(1 - a.beta2 ** step)]
    const keep = a.decoupled ? 1 - lr * a.decay : 1
    const next = p.map((x, i) => x * keep - ((lr / c1) * m[i]!) / (Math.sqrt(v[i]!) / c2 + a.eps))
    return [next, m, v]
  },
  vjp: null,
  flops: (_, [p]) => 12 * size(p!),
  overwrites: [0, 2, 3],
  examples: [
    {
      attrs: { beta1: 0.5, beta2: 0.5, eps: 0, decay: 0, decoupled: true },
      args: [
        ['f32[1]', [1]],
        ['f32[1]', [2]],
        ['f32[1]', [0]],
        ['f32[1]', [0]],
        ['f32[]', [0.25]],
        ['f32[]', [1]],
      ],
      outs: [
        ['f32[1]', [0.75]],
        ['f32[1]', [1]],
        ['f32[1]', [2]],
      ],
    },
  ],
})

/** Steps without overflow after which the scale doubles (torch.amp.GradScaler). */
const GROWTH_INTERVAL = 2000

export const lossScale: Op<None> = op({
  doc: 'Dynamic loss scaling: halves the scale on overflow, doubles it after 2000 finite steps in a row.',
  arity: 3,
  attrs: none,
  infer: (_, [scale, streak, finite]) =>
    isScalar(scale) && isScalar(streak) && finite !== undefined && equals(finite, scalar('bool'))
      ? ok(scalar('f32'), scalar('f32'))
      : fail('lossScale takes scale f32[], streak f32[] and finite bool[]'),
  evaluate: (_, args) => {
    const [scale, streak] = [values(args, 0)[0]!, values(args, 1)[0]! + 1]
    if (values(args, 2)[0] === 0) return [Float64Array.of(scale / 2), Float64Array.of(0)]
    return streak === GROWTH_INTERVAL
      ? [Float64Array.of(scale * 2), Float64Array.of(0)]
      : [Float64Array.of(scale), Float64Array.of(streak)]
  },
  vjp: null,
  flops: () => 2,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[]', [8]],
        ['f32[]', [1999]],
        ['bool[]', [1]],
      ],
      outs: [
        ['f32[]', [16]],
        ['f32[]', [0]],
      ],
    },
  ],
})
