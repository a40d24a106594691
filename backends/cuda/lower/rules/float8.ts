/** Linear layers in 8-bit floats: x quantized once, weights decoded straight to e4m3 and multiplied together, adapters in 16 bits behind. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float8 } from '../../../../ir/number.ts'
import { tensor } from '../../../../ir/type.ts'
import { elementBytes } from '../../kernels/element.ts'
import { toFloat8 } from '../../kernels/nf4-float8.ts'
import { narrowReads } from '../adapters.ts'
import { scratchOf, type Context, type Site } from '../context.ts'
import { packedAt, product8, sumsBytes } from '../float8.ts'
import { attr, maskReads } from '../pattern.ts'
import { product } from '../product.ts'
import { quantizedKey, rowConstant } from '../quantized.ts'
import type { Proposal, Rule } from '../rule.ts'
import type { Join, Key, Places, Step } from '../step.ts'
import { groups, memberOf, together, type Member } from './layers.ts'
import { lowValues, rowsOfB } from './lows.ts'
import { lowColumns, startsOf, sum, within } from './sizes.ts'

const groupOf = (c: Context, x: Id, left: Float8, members: ReadonlyArray<Member>): Proposal => {
  const dtype = members[0]!.w.to
  const each = elementBytes[dtype]
  const [rows, k] = c.type(x).shape as readonly [number, number]
  const outs = members.map((m) => m.out)
  const [wide, starts] = [sum(outs), startsOf(outs)]
  const adapters = members.flatMap((m) => (m.adapter === null ? [] : [m.adapter]))
  const low = lowColumns(adapters.map((a) => a.rank))
  const masked = adapters.some((a) => a.input.mask !== null)
  const residual = members[0]!.residual
  const key = quantizedKey(left, [x])
  const scales = rowConstant(members.map((m) => m.w))
  // Those of one run lie one above the other in the scratch and are one product.
  const runs = within(
    outs.map((n) => n * k),
    scratchOf(c.target),
  )
  const most = Math.max(...runs.map((r) => sum(r.map((i) => outs[i]!))))
  const joins: ReadonlyArray<Join> =
    members.length === 1
      ? []
      : [
          {
            rows,
            ld: wide,
            bytes: rows * wide * each,
            members: members.map((m, i) => ({ key: m.y, column: starts[i]! })),
          },
        ]

  const frozen = (at: Places) => {
    const a = packedAt(at.offset(key), rows, k)
    return runs.flatMap((run) => {
      const first = starts[run[0]!]!
      const factors = at.constant(scales.key)
      return [
        ...toFloat8(
          run.map((i) => ({
            type: members[i]!.w.state.type,
            offset: at.offset(members[i]!.w.id),
            scales: factors + 4 * starts[i]!,
            out: { offset: at.scratch(0) + (starts[i]! - first) * k, ld: k },
          })),
          dtype,
        ),
        ...product8(c.target, {
          a,
          left,
          b: { offset: at.scratch(0), ld: k, scales: factors + 4 * first },
          d: at.rows(members[run[0]!]!.y),
          to: dtype,
          ...(residual === null ? {} : { c: at.rows(residual) }),
          m: rows,
          n: sum(run.map((i) => outs[i]!)),
          k,
          sums: at.scratch(1),
        }),
      ]
    })
  }
  /** y += u·Bᵀ, the low-rank values of all adapters side by side. */
  const adapted = (at: Places) => {
    const u = { offset: at.scratch(2), ld: low.inner }
    const b = { offset: at.scratch(3), ld: low.inner }
    const y = at.rows(members[0]!.y)
    return [
      ...lowValues(c, at, adapters, { x: at.rows(x), k, beside: u, behind: 4, rows, dtype }),
      ...rowsOfB(
        at,
        members.map((m, i) => ({
          ...m,
          to: { offset: b.offset + starts[i]! * low.inner * each, ld: b.ld },
        })),
        adapters,
        dtype,
      ),
      product({
        a: { rows: u, dtype },
        b: { rows: b, dtype, t: true },
        d: { rows: y, dtype },
        c: y,
        m: rows,
        n: wide,
        k: low.inner,
      }),
    ]
  }
  const some = adapters.length > 0
  const step: Step = {
    rule: some ? 'linear8+adapters' : 'linear8',
    group: 'product',
    covers: members.flatMap((m) => m.covers),
    reads: [
      key,
      ...(some ? [x] : []),
      ...(residual === null ? [] : [residual]),
      ...members.map((m) => m.w.id),
      ...adapters.flatMap((a) => [a.a, a.b, ...maskReads(a.input.mask)]),
      ...(some ? narrowReads(c, dtype) : []),
    ],
    writes: [
      ...members.map((m) => ({ key: m.y as Key, type: tensor(dtype, rows, m.out) })),
      ...adapters.map((a) => ({ key: a.low as Key, type: tensor(dtype, rows, a.rank) })),
    ],
    // The adapters' part reads x after the product has written y.
    over: residual === null || (some && residual === x) ? [] : [[members[0]!.y, residual]],
    scratch: [
      most * k,
      sumsBytes(c.target, [rows, most], dtype, residual !== null),
      ...(some ? [rows * low.inner * each, wide * low.inner * each] : []),
      ...(masked ? [rows * k * each] : []),
    ],
    constants: [scales],
    works: (at) => [...frozen(at), ...(some ? adapted(at) : [])],
  }
  return { steps: [step], joins }
}

const takes = (s: Site): boolean => s.eqn.op === 'float8Dot' && attr(s, 'tb')

export const float8: Rule = {
  name: 'float8',
  doc: 'float8Dot(x, dequantize(Wᵢ)ᵀ) … + (s·drop(x)·Aᵀ)·Bᵀ + residual → rows of x quantized, weights decoded to e4m3, one product; adapters added by one more',
  propose: (c) =>
    groups(c, takes).flatMap(([x, sites]) => {
      const left = attr<Float8>(sites[0]!, 'left')
      const alike = sites.filter((s) => attr(s, 'left') === left)
      const members = alike.flatMap((s) => memberOf(c, s, alike.length === 1) ?? [])
      return together(c, members).map((some) => groupOf(c, x, left, some))
    }),
}
