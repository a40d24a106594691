/** What makes a value that products of 8-bit floats read quantizes it too; in 16 bits it is written only where somebody else reads it. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float8 } from '../../../../ir/number.ts'
import type { OpName } from '../../../../ir/ops/index.ts'
import { tensor, type Float } from '../../../../ir/type.ts'
import {
  rmsNorm8,
  rmsNormGrad8,
  swiglu8,
  swigluGrad8,
  takesWidth,
} from '../../kernels/float8-rows.ts'
import type { Context, Site } from '../context.ts'
import { packedAt, packedBytes } from '../float8.ts'
import { addend, argOf, attr, decodedWeight, outOf, soleSum } from '../pattern.ts'
import { quantizedKey } from '../quantized.ts'
import { steps, type Proposal, type Rule } from '../rule.ts'
import type { Made, Places, Step } from '../step.ts'

/** How products of 8-bit floats read a value: what it is rounded to, and whether nothing else reads it. Null: none does. */
const readingOf = (
  c: Context,
  id: Id,
): { readonly format: Float8; readonly alone: boolean } | null => {
  const all = c.readers(id)
  const eight = all.filter(
    (r) =>
      r.eqn.op === 'float8Dot' && argOf(r, 0) === id && decodedWeight(c, argOf(r, 1)) !== undefined,
  )
  const format = eight[0] === undefined ? null : attr<Float8>(eight[0], 'left')
  return format === null || eight.some((r) => attr(r, 'left') !== format)
    ? null
    : { format, alone: eight.length === all.length && !c.returned(id) }
}

const sizeOf = (c: Context, id: Id) => {
  const { dtype, shape } = c.type(id)
  return { rows: shape[0]!, width: shape[1]!, dtype: dtype as Float }
}

const packed = (key: string, rows: number, width: number): Made => ({
  key,
  type: tensor('u8', packedBytes(rows, width)),
})

interface Fused {
  readonly covers: ReadonlyArray<number>
  readonly reads: ReadonlyArray<Id>
  readonly writes: ReadonlyArray<Made>
  readonly over?: Step['over']
  readonly works: Step['works']
}
const step = (rule: string, group: string, o: Fused): Proposal =>
  steps({ rule, group, over: [], scratch: [], ...o })

const placed = (at: Places, key: string, rows: number, width: number) => {
  const p = packedAt(at.offset(key), rows, width)
  return { out: p, scales: p.scales }
}

const swiglu = (c: Context, site: Site): Proposal | null => {
  const y = outOf(site)
  const [reading, size] = [readingOf(c, y), sizeOf(c, y)]
  const { rows, width, dtype } = size
  if (reading === null || !takesWidth(width, dtype)) return null
  const { format, alone } = reading
  const key = quantizedKey(format, [y])
  return step('swiglu8', 'swiglu', {
    covers: [site.index],
    reads: [...new Set(site.eqn.args)],
    writes: [packed(key, rows, width), ...(alone ? [] : [{ key: y, type: c.type(y) }])],
    works: (at) => [
      swiglu8({
        gate: at.rows(argOf(site, 0)),
        up: at.rows(argOf(site, 1)),
        y: alone ? null : at.rows(y),
        ...placed(at, key, rows, width),
        ...size,
        format,
      }),
    ],
  })
}

/** The gradients in the order in which their product reads them: that of the weights in the program. */
const inOrder = (c: Context, ids: readonly [Id, Id]): readonly [Id, Id] | null => {
  const place = (id: Id): number => {
    const by = c.readers(id).find((r) => r.eqn.op === 'float8Dot')
    const w = by === undefined ? undefined : decodedWeight(c, argOf(by, 1))
    return c.program.state.findIndex((s) => s.name === w?.state.name)
  }
  const [a, b] = ids.map(place) as [number, number]
  return a < 0 || b < 0 || a === b ? null : a < b ? ids : [ids[1], ids[0]]
}

const swigluGrad = (c: Context, site: Site): Proposal | null => {
  const [dgate, dup] = [outOf(site, 0), outOf(site, 1)]
  const [one, two] = [readingOf(c, dgate), readingOf(c, dup)]
  const order = inOrder(c, [dgate, dup])
  const size = sizeOf(c, dgate)
  const { rows, width, dtype } = size
  if (one === null || two === null || one.format !== two.format || order === null) return null
  if (!takesWidth(width, dtype)) return null
  const key = quantizedKey(one.format, order)
  const alone = one.alone && two.alone
  const [gate, up, ct] = [argOf(site, 0), argOf(site, 1), argOf(site, 2)]
  const distinct = new Set([gate, up, ct]).size === 3
  return step('swigluGrad8', 'swiglu', {
    covers: [site.index],
    reads: [...new Set(site.eqn.args)],
    writes: [
      packed(key, rows, 2 * width),
      ...(alone ? [] : [dgate, dup].map((id) => ({ key: id, type: c.type(id) }))),
    ],
    over: alone || !distinct ? [] : [[dgate, gate] as const, [dup, up] as const],
    works: (at) => [
      swigluGrad8({
        gate: at.rows(gate),
        up: at.rows(up),
        ct: at.rows(ct),
        grads: alone ? null : { dgate: at.rows(dgate), dup: at.rows(dup) },
        columns: order[0] === dgate ? [0, width] : [width, 0],
        ...placed(at, key, rows, 2 * width),
        ...size,
        format: one.format,
      }),
    ],
  })
}

const norm = (c: Context, site: Site): Proposal | null => {
  const y = outOf(site)
  const [reading, size] = [readingOf(c, y), sizeOf(c, y)]
  const { rows, width, dtype } = size
  if (reading === null || !takesWidth(width, dtype)) return null
  const { format, alone } = reading
  const key = quantizedKey(format, [y])
  return step('norm8', 'norm', {
    covers: [site.index],
    reads: [...new Set(site.eqn.args)],
    writes: [packed(key, rows, width), ...(alone ? [] : [{ key: y, type: c.type(y) }])],
    works: (at) => [
      rmsNorm8({
        x: at.rows(argOf(site, 0)),
        w: at.offset(argOf(site, 1)),
        eps: attr(site, 'eps'),
        y: alone ? null : at.rows(y),
        ...placed(at, key, rows, width),
        ...size,
        format,
      }),
    ],
  })
}

/** As the rule `norm` has it, quantized too. */
const normGrad = (c: Context, site: Site): Proposal | null => {
  const sum = soleSum(c, site)
  const plus = sum === undefined ? undefined : addend(sum, outOf(site))
  if (sum === undefined || plus === undefined) return null
  const d = outOf(sum)
  const [reading, size] = [readingOf(c, d), sizeOf(c, d)]
  const { rows, width, dtype } = size
  if (reading === null || !takesWidth(width, dtype)) return null
  const [x, w, ct] = [argOf(site, 0), argOf(site, 1), argOf(site, 2)]
  const key = quantizedKey(reading.format, [d])
  return step('norm8+residual', 'norm', {
    covers: [site.index, sum.index],
    reads: [x, w, ct, plus],
    writes: [packed(key, rows, width), { key: d, type: c.type(d) }],
    over: plus === x || plus === ct ? [] : [[d, plus] as const],
    works: (at) => [
      rmsNormGrad8({
        x: at.rows(x),
        w: at.offset(w),
        ct: at.rows(ct),
        residual: at.rows(plus),
        dx: at.rows(d),
        eps: attr(site, 'eps'),
        ...placed(at, key, rows, width),
        ...size,
        format: reading.format,
      }),
    ],
  })
}

const fusions: { readonly [K in OpName]?: (c: Context, site: Site) => Proposal | null } = {
  swiglu,
  swigluGrad,
  rmsNorm: norm,
  rmsNormGrad: normGrad,
}

/** Values side by side begin at whole octets. */
const aligned = (c: Context): boolean =>
  c.fn.eqns.every((e) => e.op !== 'float8Dot' || e.types[0]!.shape[1]! % 8 === 0)

export const float8Rows: Rule = {
  name: 'float8 rows',
  doc: 'swiglu, swigluGrad, rmsNorm, add(d, rmsNormGrad) whose results products of 8-bit floats read → the same kernel quantizes them',
  propose: (c) =>
    aligned(c)
      ? c.fn.eqns.flatMap((eqn, index) => {
          const made = fusions[eqn.op]?.(c, { eqn, index }) ?? null
          return made === null ? [] : [made]
        })
      : [],
}
