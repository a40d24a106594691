/** Linear layers over 4-bit weights of a handful of rows: straight from the codes, with the norm before and the sums or the swiglu behind. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor } from '../../../../ir/type.ts'
import { elementBytes } from '../../kernels/element.ts'
import { FEW, fewPlan, fewReads, type FewPlan } from '../../kernels/few-plan.ts'
import { few as product, fewLow, fewWorkspaceBytes } from '../../kernels/few.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, outOf } from '../pattern.ts'
import { steps, type Proposal, type Rule } from '../rule.ts'
import type { Made, Step } from '../step.ts'
import { groups, memberOf, type Adapter, type Member } from './layers.ts'
import { startsOf, sum } from './sizes.ts'

/** Beyond this, every block of threads norming all rows again costs more than a launch. */
export const NORMED = 8

const adaptersOf = (members: ReadonlyArray<Member>): ReadonlyArray<Adapter> =>
  members.flatMap((m) => (m.adapter === null ? [] : [m.adapter]))

/** Nothing but the members themselves reads what the kernel does not keep. */
const fits = (c: Context, members: ReadonlyArray<Member>): boolean => {
  const dtype = members[0]!.w.to
  return (
    members.length <= 3 &&
    dtype !== 'f32' &&
    (dtype === 'f16' || c.target.arch >= 80) &&
    members.every(
      (m) => m.w.to === dtype && m.w.dtype === members[0]!.w.dtype && fewReads(m.w.state.type),
    ) &&
    adaptersOf(members).every((a) => a.input.mask === null && soleReader(c, a.low) !== undefined)
  )
}

/** The swiglu that alone reads both results. */
const swigluOf = (c: Context, members: ReadonlyArray<Member>): Site | null => {
  const [gate, up] = members
  if (gate === undefined || up === undefined || members.length !== 2 || gate.out !== up.out)
    return null
  const by = soleReader(c, gate.y)
  return by?.eqn.op === 'swiglu' &&
    soleReader(c, up.y)?.index === by.index &&
    argOf(by, 0) === gate.y &&
    argOf(by, 1) === up.y
    ? by
    : null
}

/** The norm that makes x for these equations alone. */
export const normOf = (c: Context, x: Id, covers: ReadonlyArray<number>): Site | null => {
  const site = c.made(x, 'rmsNorm')
  return site !== undefined && !c.returned(x) && c.readers(x).every((r) => covers.includes(r.index))
    ? site
    : null
}

interface Layer {
  readonly x: Id
  readonly members: ReadonlyArray<Member>
  readonly plan: FewPlan
  readonly norm: Site | null
  /** The norm of the one result, where parts are joined anyway. */
  readonly after: Site | null
  readonly swiglu: Site | null
}

/** A norm of the sum that this layer leaves to the stream, which no product makes for itself. */
const afterOf = (c: Context, [only, ...others]: ReadonlyArray<Member>): Site | null =>
  others.length > 0 || only!.residual === null
    ? null
    : (c.readers(only!.y).find((s) => s.eqn.op === 'rmsNorm' && argOf(s, 0) === only!.y) ?? null)

const layerOf = (c: Context, x: Id, members: ReadonlyArray<Member>): Layer | null => {
  const [rows, k] = c.type(x).shape as readonly [number, number]
  const swiglu = swigluOf(c, members)
  const plan = fewPlan({ rows, k, pair: swiglu !== null }, c.target)
  if (plan === null) return null
  const covers = members.flatMap((m) => m.covers)
  const norm = rows <= NORMED && plan.parts === 0 ? normOf(c, x, covers) : null
  return {
    x,
    members,
    plan,
    norm,
    after: plan.parts > 0 && rows > NORMED ? afterOf(c, members) : null,
    swiglu,
  }
}

const made = (s: Site): Made => ({ key: outOf(s), type: s.eqn.types[0]! })

const stepOf = (c: Context, { x, members, plan, norm, after, swiglu }: Layer): Step => {
  const dtype = members[0]!.w.to
  const [rows, k] = c.type(x).shape as readonly [number, number]
  const shape = { rows, k, pair: swiglu !== null }
  const adapters = adaptersOf(members)
  const columns = startsOf(adapters.map((a) => a.rank))
  const ranks = sum(adapters.map((a) => a.rank))
  const residual = members[0]!.residual
  const from = norm === null ? x : argOf(norm, 0)
  const weights = members.map((m) => ({ type: m.w.state.type }))
  return {
    rule: `few${norm === null ? '' : '+norm'}${ranks === 0 ? '' : '+adapters'}${swiglu === null ? '' : '+swiglu'}${after === null ? '' : '+norm after'}`,
    group: 'product',
    covers: [
      ...members.flatMap((m) => m.covers),
      ...[norm, swiglu, after].flatMap((s) => (s === null ? [] : [s.index])),
    ],
    reads: [
      from,
      ...[norm, after].flatMap((n) => (n === null ? [] : [argOf(n, 1)])),
      ...(residual === null ? [] : [residual]),
      ...members.map((m) => m.w.id),
      ...adapters.flatMap((a) => [a.a, a.b]),
    ],
    writes: [
      ...(swiglu === null
        ? members.map((m) => ({ key: m.y, type: tensor(dtype, rows, m.out) }))
        : [made(swiglu)]),
      ...(after === null ? [] : [made(after)]),
    ],
    // Other blocks of threads still read x when a result is written.
    over: residual === null || residual === from ? [] : [[members[0]!.y, residual]],
    scratch: [rows * ranks * elementBytes[dtype], fewWorkspaceBytes(shape, plan, weights)],
    works: (at) => {
      const low = { offset: at.scratch(0), ld: ranks }
      const source = {
        ...shape,
        plan,
        dtype,
        x: at.rows(from),
        norm:
          norm === null ? null : { w: at.offset(argOf(norm, 1)), eps: attr<number>(norm, 'eps') },
      }
      return [
        ...(ranks === 0
          ? []
          : [
              fewLow({
                ...source,
                adapters: adapters.map((a) => ({ a: at.offset(a.a), rank: a.rank, by: a.by })),
                out: low,
              }),
            ]),
        ...product({
          ...source,
          room: c.target,
          matrices: members.map((m) => ({
            type: m.w.state.type,
            offset: at.offset(m.w.id),
            out: at.rows(swiglu === null ? m.y : outOf(swiglu)),
            adapter:
              m.adapter === null
                ? null
                : {
                    b: at.offset(m.adapter.b),
                    rank: m.adapter.rank,
                    column: columns[adapters.indexOf(m.adapter)]!,
                  },
          })),
          residual: residual === null ? null : at.rows(residual),
          after:
            after === null
              ? null
              : {
                  w: at.offset(argOf(after, 1)),
                  eps: attr<number>(after, 'eps'),
                  out: at.rows(outOf(after)),
                },
          low: ranks === 0 ? null : low,
          workspace: at.scratch(1),
        }),
      ]
    },
  }
}

/** What a backward pass reads again must be kept, and its rows are many. */
export const forwardOnly = (c: Context): boolean =>
  c.fn.eqns.every((e) => e.place.stage === 'forward')

export const few: Rule = {
  name: 'few',
  doc: '(rmsNorm →) x·dequantize(W₁)ᵀ, x·dequantize(W₂)ᵀ, … + adapters + residual (→ swiglu or rmsNorm), few rows, forward alone → one product from the codes, which takes a quarter of the bytes of decoding first',
  propose: (c) =>
    forwardOnly(c)
      ? groups(c).flatMap(([x, sites]): ReadonlyArray<Proposal> => {
          if (c.type(x).shape[0]! > FEW) return []
          const members = sites.flatMap((s) => memberOf(c, s, sites.length === 1) ?? [])
          const layer = members.length > 0 && fits(c, members) ? layerOf(c, x, members) : null
          return layer === null ? [] : [steps(stepOf(c, layer))]
        })
      : [],
}
