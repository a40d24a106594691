/** Gradients added into their f32 buffers by the product that makes them; what is cheap to make again for it is not kept. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor, type Float } from '../../../../ir/type.ts'
import type { Rows } from '../../kernels/card.ts'
import { elementBytes } from '../../kernels/element.ts'
import { dropout } from '../../kernels/elementwise.ts'
import { fastLowGrads, JOBS, lowGrads } from '../../kernels/lora-mma.ts'
import { rmsNorm } from '../../kernels/norm.ts'
import type { Work } from '../../launch.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, dropped, isDot, maskReads, outOf, type Dropped } from '../pattern.ts'
import { product } from '../product.ts'
import { steps, type Rule } from '../rule.ts'
import type { Key, Places, Step } from '../step.ts'

/** A right operand: as it is, or made again from less. */
interface Source {
  readonly id: Id
  readonly mask: Dropped['mask']
  readonly norm: Site | null
}

/** buffer + aᵀ·b */
interface Term {
  readonly sum: Site
  readonly grad: Id
  readonly a: Id
  readonly b: Id
  readonly from: Source
  readonly m: number
  readonly n: number
  readonly tokens: number
  readonly dtype: Float
  readonly covers: ReadonlyArray<number>
}

const sourceOf = (c: Context, id: Id, stage: string): Source => {
  const behind = dropped(c, id)
  const norm = c.made(behind.x, 'rmsNorm')
  // In the stage of the product itself it is at hand already.
  const again = norm !== undefined && norm.eqn.place.stage === 'forward' && stage !== 'forward'
  return { id: behind.x, mask: behind.mask, norm: again ? norm : null }
}

const termOf = (c: Context, sum: Site): Term | null => {
  const grad = sum.eqn.args[0]
  if (sum.eqn.op !== 'add' || grad === undefined || c.state(grad)?.role !== 'gradient') return null
  const wide = c.made(argOf(sum, 1), 'cast')
  const dot = c.made(wide === undefined ? argOf(sum, 1) : argOf(wide, 0), 'dot')
  if (!isDot(dot, true, false) || soleReader(c, argOf(sum, 1)) === undefined) return null
  const [a, b] = [argOf(dot, 0), argOf(dot, 1)]
  const [tokens, m] = c.type(a).shape as readonly [number, number]
  return {
    sum,
    grad,
    a,
    b,
    from: sourceOf(c, b, dot.eqn.place.stage),
    m,
    n: c.type(b).shape[1]!,
    tokens,
    dtype: c.type(a).dtype as Float,
    covers: [sum.index, dot.index, ...(wide === undefined ? [] : [wide.index])],
  }
}

/** Terms that are alike and read one input, or belong to one part of the model, are summed by one launch. */
const alike = (t: Term): string => {
  const { scope, stage } = t.sum.eqn.place
  const remade = t.from.norm !== null || t.from.mask !== null
  const source = t.m < t.n || remade ? [t.from.id, t.from.mask] : []
  return JSON.stringify([scope, stage, t.m < t.n ? t.m : -t.n, source])
}

/** The right operand again, into the step's scratch. */
const remake = (at: Places, { from, tokens, n, dtype }: Term): ReadonlyArray<Work> => {
  const plain = { offset: at.scratch(0), ld: n }
  const { norm, mask } = from
  return [
    ...(norm === null
      ? []
      : [
          rmsNorm({
            x: at.rows(argOf(norm, 0)),
            w: at.offset(argOf(norm, 1)),
            out: plain,
            rows: tokens,
            width: n,
            eps: attr(norm, 'eps'),
            dtype,
          }),
        ]),
    ...(mask === null
      ? []
      : [
          dropout({
            a: norm === null ? at.rows(from.id) : plain,
            out: plain,
            rows: tokens,
            width: n,
            dtype,
            seed: at.offset(mask.seed),
            keys: at.offset(mask.keys),
            rate: mask.rate,
            salt: mask.salt,
          }),
        ]),
  ]
}

/** Up to four terms by the kernel for few columns, where it takes them; else a product each. */
const sums = (
  c: Context,
  at: Places,
  terms: ReadonlyArray<Term>,
  right: (t: Term) => Rows,
): ReadonlyArray<Work> => {
  const [first] = terms
  if (first === undefined) return []
  const now = terms.slice(0, JOBS)
  const ranksFirst = first.m < first.n
  const few = {
    jobs: now.map((t) => ({
      wide: ranksFirst ? right(t) : at.rows(t.a),
      columns: ranksFirst ? t.n : t.m,
      thin: ranksFirst ? at.rows(t.a) : right(t),
      grad: at.offset(t.grad),
    })),
    rows: first.tokens,
    rank: Math.min(first.m, first.n),
    ranksFirst,
    dtype: first.dtype,
  }
  const inPlace = now.every((t) => at.offset(t.grad) === at.offset(outOf(t.sum)))
  const fast = inPlace && fastLowGrads(c.target.arch, c.target.shared, few)
  return [
    ...(fast
      ? [lowGrads(few)]
      : now.map((t) =>
          product({
            a: { rows: at.rows(t.a), dtype: t.dtype, t: true },
            b: { rows: right(t), dtype: t.dtype },
            d: { rows: at.rows(outOf(t.sum)), dtype: 'f32' },
            c: at.rows(t.grad),
            m: t.m,
            n: t.n,
            k: t.tokens,
          }),
        )),
    ...sums(c, at, terms.slice(JOBS), right),
  ]
}

const stepOf = (c: Context, terms: ReadonlyArray<Term>): Step => {
  const first = terms[0]!
  const remade = first.from.norm !== null || first.from.mask !== null
  return {
    rule: Math.min(first.m, first.n) <= 64 ? 'adapter gradients' : 'gradients',
    group: Math.min(first.m, first.n) <= 64 ? 'lora' : 'product',
    covers: terms.flatMap((t) => t.covers),
    reads: [
      ...new Set(
        terms.flatMap((t): ReadonlyArray<Id> => [
          t.a,
          ...(t.from.norm === null ? [t.from.id] : [argOf(t.from.norm, 0), argOf(t.from.norm, 1)]),
          ...maskReads(t.from.mask),
          t.grad,
        ]),
      ),
    ],
    writes: terms.map((t) => ({ key: outOf(t.sum) as Key, type: tensor('f32', t.m, t.n) })),
    over: terms.map((t) => [outOf(t.sum), t.grad] as const),
    scratch: remade ? [first.tokens * first.n * elementBytes[first.dtype]] : [],
    works: (at) => [
      ...(remade ? remake(at, first) : []),
      ...sums(c, at, terms, (t) =>
        remade ? { offset: at.scratch(0), ld: first.n } : at.rows(t.from.id),
      ),
    ],
  }
}

export const gradient: Rule = {
  name: 'gradient',
  doc: 'bufferᵢ + cast(aᵢᵀ·bᵢ) → sums in f32 added in place, those of one input at once; dropout and norms of b made again',
  propose: (c) => {
    const groups = new Map<string, Term[]>()
    c.fn.eqns.forEach((eqn, index) => {
      const t = termOf(c, { eqn, index })
      if (t === null) return
      const list = groups.get(alike(t))
      if (list === undefined) groups.set(alike(t), [t])
      else list.push(t)
    })
    return [...groups.values()].map((terms) => steps(stepOf(c, terms)))
  },
}
