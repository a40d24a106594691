/** Every op alone: the kernels that compute it where no rule fuses it. The table is complete over op names. */
import type { Adam, Rope } from '../../../ir/algebra.ts'
import type { Id } from '../../../ir/graph.ts'
import { opOf, type OpName } from '../../../ir/ops/index.ts'
import { bytes, size, type Float, type Plain, type TensorType } from '../../../ir/type.ts'
import * as attention from '../kernels/attention.ts'
import type { Rows } from '../kernels/card.ts'
import { elementBytes } from '../kernels/element.ts'
import * as elementwise from '../kernels/elementwise.ts'
import * as loss from '../kernels/loss.ts'
import * as nf4 from '../kernels/nf4.ts'
import * as norm from '../kernels/norm.ts'
import * as optim from '../kernels/optim.ts'
import * as reduce from '../kernels/reduce.ts'
import * as rotary from '../kernels/rope.ts'
import type { Work } from '../launch.ts'
import type { Context, Site } from './context.ts'
import { argOf, attr } from './pattern.ts'
import { product } from './product.ts'
import { attentionGradStep, attentionStep } from './rules/attention.ts'
import { chunkRows, chunks, lossStep } from './rules/loss.ts'
import { plainDot } from './rules/residual.ts'
import { plainRope } from './rules/rope.ts'
import type { Places, Step } from './step.ts'

/** A tensor as rows: all but its last dimension, and the last. */
export const shapeOf = (t: TensorType) => {
  const width = t.shape.at(-1) ?? 1
  return { rows: width === 0 ? 0 : size(t) / width, width }
}

const group: { readonly [K in OpName]?: string } = {
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
  cachedAttention: 'attention',
  linearArgmax: 'loss',
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

interface Here {
  readonly arg: (i: number) => Rows
  readonly out: (i?: number) => Rows
  readonly argAt: (i: number) => number
  readonly outAt: (i?: number) => number
  readonly scratch: (i: number) => number
  /** Rows and width of the first result, and its dtype. */
  readonly shape: { readonly rows: number; readonly width: number }
  readonly dtype: Float
}

const alone = (
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

type Lowering = (c: Context, site: Site) => Step

const binary =
  (card: (o: elementwise.Binary) => Work): Lowering =>
  (c, s) =>
    alone(c, s, (h) => [
      card({ ...h.shape, dtype: h.dtype, a: h.arg(0), b: h.arg(1), out: h.out() }),
    ])

const unary =
  (card: (o: elementwise.Unary, s: Site, h: Here) => Work): Lowering =>
  (c, s) =>
    alone(c, s, (h) => [card({ ...h.shape, dtype: h.dtype, a: h.arg(0), out: h.out() }, s, h)])

const reduction =
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

/** Rows of logits of a hidden matrix, a chunk at a time. */
const overLogits =
  (body: (h: Here, chunk: Chunk) => ReadonlyArray<Work>): Lowering =>
  (c, s) => {
    const [x, w] = [c.type(argOf(s, 0)), c.type(argOf(s, 1))]
    const [rows, width] = x.shape as readonly [number, number]
    const dtype = x.dtype as Float
    const vocab = w.shape[0]!
    const each = chunkRows(rows, vocab, dtype)
    return alone(
      c,
      s,
      (h) => {
        const logits = { offset: h.scratch(0), ld: vocab }
        const of = (r: Rows, from: number): Rows => ({
          offset: r.offset + from * r.ld * elementBytes[dtype],
          ld: r.ld,
        })
        return chunks(rows, each).flatMap(({ from, rows: n }) => [
          product({
            a: { rows: of(h.arg(0), from), dtype },
            b: { rows: h.arg(1), dtype, t: true },
            d: { rows: logits, dtype },
            m: n,
            n: vocab,
            k: width,
          }),
          ...body(h, {
            logits,
            from,
            n,
            vocab,
            width,
            dtype,
            x: of(h.arg(0), from),
            rowsOf: (r) => of(r, from),
          }),
        ])
      },
      [each * vocab * elementBytes[dtype]],
    )
  }

interface Chunk {
  readonly logits: Rows
  readonly from: number
  readonly n: number
  readonly vocab: number
  readonly width: number
  readonly dtype: Float
  readonly x: Rows
  readonly rowsOf: (r: Rows) => Rows
}

/** Gradients of the logits of a chunk, from the loss's lse and cotangent. */
const slopes = (h: Here, k: Chunk): Work =>
  loss.crossEntropyGrad({
    logits: k.logits,
    dtype: k.dtype,
    rows: k.n,
    width: k.vocab,
    targets: h.argAt(2) + 4 * k.from,
    lse: h.argAt(3) + 4 * k.from,
    grad: {
      ct: { offset: h.argAt(4) + 4 * k.from, each: true },
      out: k.logits,
      dtype: k.dtype,
    },
  })

const cacheDims = (c: Context, positions: Id, cache: Id) => {
  const [batch, length] = c.type(positions).shape as readonly [number, number]
  return { batch, length, capacity: c.type(cache).shape[1]!, dtype: c.type(cache).dtype as Float }
}

const table: { readonly [K in OpName]: Lowering } = {
  add: binary(elementwise.add),
  sub: binary(elementwise.sub),
  mul: binary(elementwise.mul),
  scale: unary((o, s) => elementwise.scale({ ...o, by: attr(s, 'by') })),
  scaleBy: unary((o, _, h) => elementwise.scaleBy({ ...o, by: h.argAt(1) })),
  reciprocal: unary(elementwise.reciprocal),
  sqrt: unary(elementwise.sqrt),
  addRow: unary((o, _, h) => elementwise.addRow({ ...o, b: h.argAt(1) })),
  dropout: unary((o, s, h) =>
    elementwise.dropout({
      ...o,
      seed: h.argAt(1),
      keys: h.argAt(2),
      rate: attr(s, 'rate'),
      salt: attr(s, 'salt'),
    }),
  ),
  isFinite: reduction(reduce.isFinite),
  sum: reduction(reduce.sum),
  sumSquares: reduction(reduce.sumSquares),
  select: (c, s) =>
    alone(c, s, (h) => [
      elementwise.select({
        ...h.shape,
        dtype: h.dtype as Plain,
        condition: h.argAt(0),
        a: h.arg(1),
        b: h.arg(2),
        out: h.out(),
      }),
    ]),
  cast: (c, s) =>
    alone(c, s, (h) => [
      elementwise.cast({
        ...h.shape,
        a: h.arg(0),
        out: h.out(),
        from: c.type(argOf(s, 0)).dtype as Float,
        to: h.dtype,
      }),
    ]),
  fill: (c, s) =>
    alone(c, s, (h) => [
      attr<number>(s, 'value') === 0
        ? clear(h.outAt(), bytes(s.eqn.types[0]!))
        : elementwise.fill({
            ...h.shape,
            dtype: h.dtype as Plain,
            value: attr(s, 'value'),
            out: h.out(),
          }),
    ]),
  spread: (c, s) =>
    alone(c, s, (h) => [
      elementwise.spread({ ...h.shape, dtype: h.dtype, value: h.argAt(0), out: h.out() }),
    ]),
  dot: plainDot,
  sumRows: (c, s) =>
    alone(c, s, (h) => [
      reduce.sumRows({
        ...shapeOf(c.type(argOf(s, 0))),
        a: h.arg(0),
        dtype: h.dtype,
        out: h.outAt(),
      }),
    ]),
  takeRows: (c, s) =>
    alone(c, s, (h) => [
      elementwise.gather({
        ...h.shape,
        dtype: h.dtype,
        table: h.arg(0),
        index: h.argAt(1),
        out: h.out(),
      }),
    ]),
  embed: (c, s) =>
    alone(c, s, (h) => [
      elementwise.gather({
        ...h.shape,
        dtype: h.dtype,
        table: h.arg(0),
        index: h.argAt(1),
        out: h.out(),
      }),
    ]),
  embedGrad: (c, s) =>
    alone(c, s, (h) => [
      reduce.embedGrad({
        ids: h.argAt(0),
        ct: h.arg(1),
        out: h.out(),
        tokens: c.type(argOf(s, 1)).shape[0]!,
        vocab: h.shape.rows,
        width: h.shape.width,
        dtype: h.dtype,
      }),
    ]),
  rmsNorm: (c, s) =>
    alone(c, s, (h) => [
      norm.rmsNorm({
        ...h.shape,
        dtype: h.dtype,
        x: h.arg(0),
        w: h.argAt(1),
        out: h.out(),
        eps: attr(s, 'eps'),
      }),
    ]),
  rmsNormGrad: (c, s) =>
    alone(c, s, (h) => [
      norm.rmsNormGrad({
        ...h.shape,
        dtype: h.dtype,
        x: h.arg(0),
        w: h.argAt(1),
        ct: h.arg(2),
        out: h.out(),
        eps: attr(s, 'eps'),
      }),
    ]),
  rmsNormWeightGrad: (c, s) => {
    const shape = shapeOf(c.type(argOf(s, 0)))
    return alone(
      c,
      s,
      (h) =>
        norm.rmsNormWeightGrad({
          ...shape,
          dtype: h.dtype,
          x: h.arg(0),
          ct: h.arg(2),
          out: h.outAt(),
          workspace: h.scratch(0),
          eps: attr(s, 'eps'),
        }),
      [norm.rmsNormWeightGradWorkspaceBytes(shape.rows)],
    )
  },
  swiglu: (c, s) =>
    alone(c, s, (h) => [
      elementwise.swiglu({
        ...h.shape,
        dtype: h.dtype,
        gate: h.arg(0),
        up: h.arg(1),
        out: h.out(),
      }),
    ]),
  swigluGrad: (c, s) =>
    alone(c, s, (h) => [
      elementwise.swigluGrad({
        ...h.shape,
        dtype: h.dtype,
        gate: h.arg(0),
        up: h.arg(1),
        ct: h.arg(2),
        dgate: h.out(0),
        dup: h.out(1),
      }),
    ]),
  ropeTable: (c, s) =>
    alone(c, s, (h) => [
      rotary.ropeTable({
        positions: h.argAt(0),
        cos: h.outAt(0),
        sin: h.outAt(1),
        rows: h.shape.rows,
        rope: s.eqn.attrs as unknown as Rope,
      }),
    ]),
  rope: plainRope,
  attention: attentionStep,
  attentionGrad: (c, s) => attentionGradStep(c, s),
  cacheWrite: (c, s) => {
    const size = bytes(s.eqn.types[0]!)
    return alone(c, s, (h) => [
      ...(h.outAt() === h.argAt(0) ? [] : [copy(h.argAt(0), h.outAt(), size)]),
      attention.cacheWrite({
        ...cacheDims(c, argOf(s, 2), argOf(s, 0)),
        cache: h.outAt(),
        x: h.arg(1),
        width: h.shape.width,
        positions: h.argAt(2),
      }),
    ])
  },
  cachedAttention: (c, s) =>
    alone(c, s, (h) => [
      attention.cachedAttention({
        ...cacheDims(c, argOf(s, 3), argOf(s, 1)),
        positions: h.argAt(3),
        q: h.arg(0),
        k: h.argAt(1),
        v: h.argAt(2),
        out: h.out(),
        heads: attr(s, 'heads'),
        kvHeads: attr(s, 'kvHeads'),
        dim: h.shape.width / attr<number>(s, 'heads'),
      }),
    ]),
  linearCrossEntropy: (c, s) => lossStep(c, s, null),
  linearCrossEntropyGrad: overLogits((h, k) => [
    slopes(h, k),
    product({
      a: { rows: k.logits, dtype: k.dtype },
      b: { rows: h.arg(1), dtype: k.dtype },
      d: { rows: k.rowsOf(h.out()), dtype: k.dtype },
      m: k.n,
      n: k.width,
      k: k.vocab,
    }),
  ]),
  linearCrossEntropyWeightGrad: overLogits((h, k) => [
    slopes(h, k),
    product({
      a: { rows: k.logits, dtype: k.dtype, t: true },
      b: { rows: k.x, dtype: k.dtype },
      d: { rows: h.out(), dtype: k.dtype },
      ...(k.from === 0 ? {} : { c: h.out() }),
      m: k.vocab,
      n: k.width,
      k: k.n,
    }),
  ]),
  linearArgmax: overLogits((h, k) => [
    loss.argmax({
      logits: k.logits,
      dtype: k.dtype,
      rows: k.n,
      width: k.vocab,
      out: h.outAt() + 4 * k.from,
    }),
  ]),
  dequantize: (c, s) =>
    alone(c, s, (h) =>
      nf4.dequantize([{ type: c.type(argOf(s, 0)), offset: h.argAt(0), out: h.out() }], h.dtype),
    ),
  clipCoefficient: (c, s) =>
    alone(c, s, (h) => [
      optim.clipCoefficient({ squares: h.argAt(0), out: h.outAt(), max: attr(s, 'max') }),
    ]),
  adamw: (c, s) =>
    alone(c, s, (h) => [
      optim.adamw({
        adam: s.eqn.attrs as unknown as Adam,
        n: size(s.eqn.types[0]!),
        p: h.argAt(0),
        g: h.argAt(1),
        m: h.argAt(2),
        v: h.argAt(3),
        nextP: h.outAt(0),
        nextM: h.outAt(1),
        nextV: h.outAt(2),
        rate: h.argAt(4),
        step: h.argAt(5),
      }),
    ]),
  lossScale: (c, s) =>
    alone(c, s, (h) => [
      optim.lossScale({
        scale: h.argAt(0),
        streak: h.argAt(1),
        finite: h.argAt(2),
        nextScale: h.outAt(0),
        nextStreak: h.outAt(1),
      }),
    ]),
}

const clear = (offset: number, length: number): Work => ({
  _tag: 'clear',
  offset,
  length,
  bytes: length,
  flops: 0,
})
const copy = (from: number, to: number, length: number): Work => ({
  _tag: 'copy',
  from,
  to,
  length,
  bytes: 2 * length,
  flops: 0,
})

export const plain: Lowering = (c, site) => table[site.eqn.op](c, site)
