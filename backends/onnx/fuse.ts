/** Which equations wait to be made inside the one that alone reads them: one pass over memory instead of two. */
import type { Eqn, Fn, Id } from '../../ir/graph.ts'
import { blocks, isFourBit, type TensorType } from '../../ir/type.ts'

/** A product waiting for the scale or sum that reads it. */
export interface Product {
  readonly eqn: Eqn
  readonly alpha: number
}

export interface Waiting {
  readonly products: ReadonlyMap<Id, Product>
  /** Decoded weights that one f32 product reads: the product decodes them itself. */
  readonly weights: ReadonlyMap<Id, Eqn>
}

/** How often each value is read, by equations or the caller. */
const readers = (f: Fn): ReadonlyMap<Id, number> => {
  const count = new Map<Id, number>()
  const returned = [...f.outs.map((o) => o.id), ...f.updates.map((u) => u.id)]
  for (const id of [...f.eqns.flatMap((e) => e.args), ...returned])
    count.set(id, (count.get(id) ?? 0) + 1)
  return count
}

/** A decoding onnxruntime's 4-bit product can take over: a matrix whose rows are whole blocks, that a plain product reads on the right. */
const decodable = (e: Eqn, reader: Eqn | undefined, encoded: TensorType): boolean =>
  e.op === 'dequantize' &&
  e.types[0]!.dtype === 'f32' &&
  reader?.op === 'dot' &&
  reader.args[1] === e.outs[0] &&
  reader.args[0] !== e.outs[0] &&
  reader.attrs['ta'] === false &&
  // onnxruntime 1.30 ignores transB = 0 on the CPU: x·W would come out as x·Wᵀ.
  reader.attrs['tb'] === true &&
  isFourBit(encoded.dtype) &&
  encoded.shape[1]! % blocks(encoded.dtype).block === 0

export const waiting = (f: Fn, types: ReadonlyMap<Id, TensorType>): Waiting => {
  const count = readers(f)
  const reader = new Map<Id, Eqn>()
  for (const e of f.eqns) for (const a of e.args) reader.set(a, e)
  const products = new Map<Id, Product>()
  const weights = new Map<Id, Eqn>()
  for (const e of f.eqns) {
    const out = e.outs[0]!
    if (e.types[0]?.dtype !== 'f32' || count.get(out) !== 1) continue
    const by = reader.get(out)
    if (decodable(e, by, types.get(e.args[0]!) ?? e.types[0])) weights.set(out, e)
    if (
      e.op === 'dot' &&
      ['scale', 'add'].includes(by?.op ?? '') &&
      by!.place.stage === e.place.stage
    )
      products.set(out, { eqn: e, alpha: 1 })
    const inner = e.op === 'scale' ? products.get(e.args[0]!) : undefined
    if (inner !== undefined && by?.op === 'add')
      products.set(out, { ...inner, alpha: inner.alpha * (e.attrs['by'] as number) })
  }
  return { products, weights }
}
