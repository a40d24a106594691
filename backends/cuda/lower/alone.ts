/** One equation as a step of its own. */
import { opOf, type OpName } from '../../../ir/ops/index.ts'
import { bytes, size, type Float, type TensorType } from '../../../ir/type.ts'
import type { Rows } from '../kernels/card.ts'
import type * as elementwise from '../kernels/elementwise.ts'
import * as reduce from '../kernels/reduce.ts'
import type { Work } from '../launch.ts'
import type { Context, Site } from './context.ts'
import { argOf } from './pattern.ts'
import type { Places, Step } from './step.ts'

/** A tensor as rows: all but its last dimension, and the last. */
export const shapeOf = (t: TensorType) => {
  const width = t.shape.at(-1) ?? 1
  return { rows: width === 0 ? 0 : size(t) / width, width }
}

const group: { readonly [K in OpName]?: string } = {
  float8Dot: 'product',
  int8Dot: 'product',
  dequantize: 'decode',
  rmsNorm: 'norm',
  rmsNormGrad: 'norm',
  rmsNormWeightGrad: 'norm',
  swiglu: 'swiglu',
  swigluGrad: 'swiglu',
  adamw: 'optimizer',
  sumSquares: 'optimizer',
  clipCoefficient: 'optimizer',
  lossScale: 'optimizer',
  encode8: 'optimizer',
  decode8: 'optimizer',
  cachedAttention: 'attention',
  linearArgmax: 'loss',
  classCrossEntropy: 'loss',
  classCrossEntropyGrad: 'loss',
}

/** Results over operands, as the op's record allows; sizes agree and the operand is given once. */
const overs = (c: Context, { eqn }: Site): Step['over'] =>
  eqn.outs.flatMap((o, i) => {
    const k = opOf(eqn.op).overwrites?.[i]
    const victim = k === undefined ? undefined : eqn.args[k]
    const fits =
      victim !== undefined &&
      eqn.args.filter((a) => a === victim).length === 1 &&
      bytes(c.type(victim)) === bytes(c.type(o))
    return fits ? [[o, victim] as const] : []
  })

export interface Here {
  readonly arg: (i: number) => Rows
  readonly out: (i?: number) => Rows
  readonly argAt: (i: number) => number
  readonly outAt: (i?: number) => number
  readonly scratch: (i: number) => number
  /** Rows and width of the first result, and its dtype. */
  readonly shape: { readonly rows: number; readonly width: number }
  readonly dtype: Float
}

export const alone = (
  c: Context,
  site: Site,
  works: (h: Here) => ReadonlyArray<Work>,
  scratch: ReadonlyArray<number> = [],
): Step => {
  const { eqn, index } = site
  const here = (at: Places): Here => ({
    arg: (i) => at.rows(eqn.args[i]!),
    out: (i = 0) => at.rows(eqn.outs[i]!),
    argAt: (i) => at.offset(eqn.args[i]!),
    outAt: (i = 0) => at.offset(eqn.outs[i]!),
    scratch: at.scratch,
    shape: shapeOf(eqn.types[0]!),
    dtype: eqn.types[0]!.dtype as Float,
  })
  return {
    rule: eqn.op,
    group: group[eqn.op] ?? 'other',
    covers: [index],
    reads: [...new Set(eqn.args)],
    writes: eqn.outs.map((key, i) => ({ key, type: eqn.types[i]! })),
    over: overs(c, site),
    scratch,
    works: (at) => works(here(at)),
  }
}

export type Lowering = (c: Context, site: Site) => Step

export const binary =
  (card: (o: elementwise.Binary) => Work): Lowering =>
  (c, s) =>
    alone(c, s, (h) => [
      card({ ...h.shape, dtype: h.dtype, a: h.arg(0), b: h.arg(1), out: h.out() }),
    ])

export const unary =
  (card: (o: elementwise.Unary, s: Site, h: Here) => Work): Lowering =>
  (c, s) =>
    alone(c, s, (h) => [card({ ...h.shape, dtype: h.dtype, a: h.arg(0), out: h.out() }, s, h)])

export const reduction =
  (card: (r: reduce.Reduction) => ReadonlyArray<Work>): Lowering =>
  (c, s) => {
    const of = c.type(argOf(s, 0))
    return alone(
      c,
      s,
      (h) =>
        card({
          parts: [{ ...shapeOf(of), a: h.arg(0), dtype: of.dtype as Float }],
          out: h.outAt(),
          workspace: h.scratch(0),
        }),
      [reduce.reduceWorkspaceBytes([shapeOf(of)])],
    )
  }

export const clear = (offset: number, length: number): Work => ({
  _tag: 'clear',
  offset,
  length,
  bytes: length,
  flops: 0,
})
export const copy = (from: number, to: number, length: number): Work => ({
  _tag: 'copy',
  from,
  to,
  length,
  bytes: 2 * length,
  flops: 0,
})
