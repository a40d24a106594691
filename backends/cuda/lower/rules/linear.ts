/** Linear layers over 4-bit weights that read one input, with their adapters: decoded side by side into one scratch, multiplied once. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor } from '../../../../ir/type.ts'
import { dequantize } from '../../kernels/decode.ts'
import { narrowReads } from '../adapters.ts'
import { scratchOf, type Context } from '../context.ts'
import { keptKey } from '../kept.ts'
import { argOf, maskReads, outOf } from '../pattern.ts'
import { product } from '../product.ts'
import type { Proposal, Rule } from '../rule.ts'
import type { Join, Key, Step } from '../step.ts'
import { elementBytes } from '../../kernels/element.ts'
import { groups, memberOf, together, type Member } from './layers.ts'
import { lowValues, rowsOfB } from './lows.ts'
import { lowColumns, startsOf, sum, within } from './sizes.ts'

const groupOf = (c: Context, x: Id, members: ReadonlyArray<Member>): Proposal => {
  const dtype = members[0]!.w.to
  const each = elementBytes[dtype]
  const [rows, k] = c.type(x).shape as readonly [number, number]
  const outs = members.map((m) => m.out)
  const wide = sum(outs)
  const adapters = members.flatMap((m) => (m.adapter === null ? [] : [m.adapter]))
  const low = lowColumns(adapters.map((a) => a.rank))
  const [inner, ldw] = [k + low.inner, k + low.ld]
  const residual = members[0]!.residual
  const ldOf = adapters.length > 0 ? ldw : k
  const starts = startsOf(outs)
  const masked = adapters.some((a) => a.input.mask !== null)
  const joins: ReadonlyArray<Join> = [
    ...(adapters.length === 0
      ? []
      : [{ rows, ld: ldw, bytes: rows * ldw * each, members: [{ key: x, column: 0 }] }]),
    ...(members.length === 1
      ? []
      : [
          {
            rows,
            // The cotangents will lie over these, and low-rank ones beside them.
            ld: wide + low.ld,
            bytes: rows * (wide + low.ld) * each,
            members: members.map((m, i) => ({ key: m.y, column: starts[i]! })),
          },
        ]),
  ]
  const key = keptKey(
    c,
    members[0]!.w.site.eqn.place,
    members.map((m) => m.w.state.name),
  )
  // Those of one run lie one above the other in the scratch and are one product.
  const sizes = outs.map((n) => n * ldw * each)
  const runs = within(sizes, key === null ? scratchOf(c.target) : Infinity)
  const step: Step = {
    rule: adapters.length > 0 ? 'linear+adapters' : 'linear',
    group: 'product',
    covers: members.flatMap((m) => m.covers),
    reads: [
      x,
      ...(residual === null ? [] : [residual]),
      ...members.map((m) => m.w.id),
      ...adapters.flatMap((a) => [a.a, a.b, ...maskReads(a.input.mask)]),
      ...(adapters.length === 0 ? [] : narrowReads(c, dtype)),
    ],
    writes: [
      ...members.map((m) => ({ key: m.y as Key, type: tensor(dtype, rows, m.out) })),
      ...adapters.map((a) => ({ key: a.low as Key, type: tensor(dtype, rows, a.rank) })),
      // Rows of A come below it in the backward.
      ...(key === null ? [] : [{ key, type: tensor(dtype, wide + low.inner, ldOf) }]),
    ],
    over: residual === null ? [] : [[members[0]!.y, residual]],
    scratch: [
      key === null ? Math.max(...runs.map((r) => sum(r.map((i) => sizes[i]!)))) : 0,
      ...(masked ? [rows * k * each] : []),
    ],
    works: (at) => {
      const from = at.rows(x)
      const weights = { offset: key === null ? at.scratch(0) : at.offset(key), ld: ldOf }
      const target = (i: number) => {
        const above = starts[i]! - starts[runs.find((r) => r.includes(i))![0]!]!
        return { offset: weights.offset + above * weights.ld * each, ld: weights.ld }
      }
      return [
        // Beside x, where the product reads them.
        ...lowValues(c, at, adapters, {
          x: from,
          k,
          beside: { offset: from.offset + k * each, ld: from.ld },
          behind: 1,
          rows,
          dtype,
        }),
        ...runs.flatMap((run) => [
          ...dequantize(
            run.map((i) => ({
              offset: at.offset(members[i]!.w.id),
              type: members[i]!.w.state.type,
              out: target(i),
            })),
            dtype,
          ),
          ...(adapters.length === 0
            ? []
            : rowsOfB(
                at,
                run.map((i) => ({
                  ...members[i]!,
                  to: { offset: target(i).offset + k * each, ld: weights.ld },
                })),
                adapters,
                dtype,
              )),
          product({
            a: { rows: from, dtype },
            b: { rows: weights, dtype, t: true },
            d: { rows: at.rows(members[run[0]!]!.y), dtype },
            ...(residual === null ? {} : { c: at.rows(residual) }),
            m: rows,
            n: sum(run.map((i) => outs[i]!)),
            k: adapters.length > 0 ? inner : k,
          }),
        ]),
      ]
    },
  }
  return { steps: [step], joins }
}

/** Where the backward finds decoded matrices that the forward of this function has kept, and the rows there are for A below them. */
export const keptBy = (c: Context, states: ReadonlyArray<string>) => {
  const first = c.fn.eqns.findIndex(
    (e) =>
      e.op === 'dequantize' &&
      e.place.stage === 'forward' &&
      c.state(e.args[0]!)?.name === states[0],
  )
  const site = { eqn: c.fn.eqns[first]!, index: first }
  const key = first < 0 ? null : keptKey(c, site.eqn.place, states)
  if (key === null) return null
  const group = groups(c).find(([, sites]) => sites.some((s) => argOf(s, 1) === outOf(site)))
  const members = (group?.[1] ?? []).flatMap((s) => memberOf(c, s, group![1].length === 1) ?? [])
  const names = members.map((m) => m.w.state.name)
  if (names.join() !== states.join()) return null
  const low = lowColumns(members.flatMap((m) => (m.adapter === null ? [] : [m.adapter.rank])))
  const k = members[0]!.w.state.type.shape[1]!
  return { key, ld: low.used > 0 ? k + low.ld : k, below: low.inner }
}

export const linear: Rule = {
  name: 'linear',
  doc: 'x·dequantize(W₁)ᵀ, x·dequantize(W₂)ᵀ, … + (s·drop(x)·Aᵀ)·Bᵀ + residual → one product of [x | s·x·Aᵀ] and [W | B]',
  propose: (c) =>
    groups(c).flatMap(([x, sites]) => {
      const members = sites.flatMap((s) => memberOf(c, s, sites.length === 1) ?? [])
      const beside = members.some((m) => m.adapter !== null)
      // What lies beside x needs a place that a step of ours has made.
      return beside && (c.maker(x) === undefined || c.returned(x))
        ? []
        : together(c, members).map((some) => groupOf(c, x, some))
    }),
}
