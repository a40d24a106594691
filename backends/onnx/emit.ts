/** A function of a program as one ONNX model: equations in order, products and the sums around them fused. */
import type { Eqn, Fn, Id, Program } from '../../ir/graph.ts'
import { stateOf, typesOf } from '../../ir/graph.ts'
import { isEncoded, parts, type Plain, type TensorType } from '../../ir/type.ts'
import { kernels, partName, type Kernel } from './kernels.ts'
import { modelBuilder, type ModelBuilder, type Value } from './model.ts'
import type { ElemType } from './proto.ts'
import { CAST, nodesOf, type Site } from './site.ts'

/** How a dtype crosses the border: bf16 has no array type in JavaScript and travels as its bits. */
export const elementType: { readonly [K in Plain]: ElemType } = {
  f32: 'float32',
  f16: 'float16',
  bf16: 'uint16',
  i32: 'int32',
  i8: 'int8',
  u8: 'uint8',
  bool: 'bool',
}

/** The name under which a function returns a new state value. */
export const nextName = (state: string): string => `${state}'`

/** 16-bit results are handed to the caller as f32. */
export const returnedType = (t: TensorType): ElemType =>
  narrow(t) ? 'float32' : elementType[t.dtype as Plain]

const narrow = (t: TensorType): boolean => t.dtype === 'f16' || t.dtype === 'bf16'

/** A border value as the f32 it is computed with. */
const widened = (b: ModelBuilder, name: Value, t: TensorType): Value => {
  const n = nodesOf(b, '')
  if (t.dtype === 'f16') return n.cast(name, CAST.f32)
  return t.dtype === 'bf16'
    ? n.cast(n.one('BitCast', [name], { to: { int: CAST.bf16 } }), CAST.f32)
    : name
}

const narrowed = (b: ModelBuilder, v: Value, t: TensorType): Value => {
  const n = nodesOf(b, '')
  if (t.dtype === 'f16') return n.cast(v, CAST.f16)
  return t.dtype === 'bf16'
    ? n.one('BitCast', [n.cast(v, CAST.bf16)], { to: { int: CAST.u16 } })
    : v
}

const declare = (b: ModelBuilder, name: string, t: TensorType): Value => {
  if (!isEncoded(t.dtype)) return widened(b, b.input(name, elementType[t.dtype], t.shape), t)
  // A scalar part (the mean of the scales) is declared as one, so that it broadcasts.
  for (const p of parts(t))
    b.input(partName(name, p.name), elementType[p.dtype], p.name === 'offset' ? [] : [p.count])
  return name
}

/** How often each value is read, by equations or the caller. */
const readers = (f: Fn): ReadonlyMap<Id, number> => {
  const count = new Map<Id, number>()
  for (const id of [
    ...f.eqns.flatMap((e) => e.args),
    ...f.outs.map((o) => o.id),
    ...f.updates.map((u) => u.id),
  ])
    count.set(id, (count.get(id) ?? 0) + 1)
  return count
}

/** A product waiting to be fused with the scale or sum that alone reads it. */
interface Product {
  readonly eqn: Eqn
  readonly alpha: number
}

/** Products read once, by a scale or an addition in f32, are made there: one pass over memory instead of two. */
const fusible = (f: Fn): ReadonlyMap<Id, Product> => {
  const count = readers(f)
  const products = new Map<Id, Product>()
  const reader = new Map<Id, Eqn>()
  for (const e of f.eqns) for (const a of e.args) reader.set(a, e)
  const once = (id: Id, ops: ReadonlyArray<string>) =>
    count.get(id) === 1 && ops.includes(reader.get(id)?.op ?? '')
  for (const e of f.eqns) {
    const out = e.outs[0]!
    if (e.types[0]?.dtype !== 'f32' || !once(out, ['scale', 'add'])) continue
    if (e.op === 'dot' && reader.get(out)!.place.stage === e.place.stage)
      products.set(out, { eqn: e, alpha: 1 })
    const inner = e.op === 'scale' ? products.get(e.args[0]!) : undefined
    if (inner !== undefined && once(out, ['add']))
      products.set(out, { ...inner, alpha: inner.alpha * (e.attrs['by'] as number) })
  }
  return products
}

/** The bytes of the ONNX model of a function. */
export const emit = (p: Program, f: Fn): Uint8Array => {
  const b = modelBuilder()
  const [types, states, products] = [typesOf(p, f), stateOf(p), fusible(f)]
  const env = new Map<Id, Value>()
  for (const i of f.inputs) env.set(i.id, declare(b, i.name, i.type))
  for (const r of f.reads) env.set(r.id, declare(b, r.state, states.get(r.state)!.type))
  const gemm = (e: Eqn, product: Product, c?: Value): Value => {
    const { ta, tb } = product.eqn.attrs as { ta: boolean; tb: boolean }
    const [x, y] = product.eqn.args.map((a) => env.get(a)!) as [Value, Value]
    return nodesOf(b, saltOf(e)).gemm(x, y, {
      ta,
      tb,
      alpha: product.alpha,
      ...(c === undefined ? {} : { c }),
    })
  }
  const fused = (e: Eqn): Value | null => {
    const ready = e.args.findIndex((a) => !products.has(a))
    if (e.op === 'scale' && products.has(e.args[0]!))
      return gemm(e, { ...products.get(e.args[0]!)!, alpha: e.attrs['by'] as number })
    if (e.op !== 'add' || e.args.every((a) => !products.has(a))) return null
    const at = ready >= 0 ? 1 - ready : 1
    const other = e.args[1 - at]!
    const c = products.has(other) ? gemm(e, products.get(other)!) : env.get(other)!
    return gemm(e, products.get(e.args[at]!)!, c)
  }
  for (const e of f.eqns) {
    if (products.has(e.outs[0]!)) continue
    const whole = fused(e)
    const results = whole === null ? run(b, e, types, env) : [whole]
    e.outs.forEach((o, i) => env.set(o, rounded(b, results[i]!, e, i)))
  }
  for (const o of f.outs)
    b.output(
      o.name,
      env.get(o.id)!,
      returnedType(types.get(o.id)!),
      types.get(o.id)!.shape,
    )
  for (const u of f.updates) {
    const t = types.get(u.id)!
    b.output(
      nextName(u.state),
      narrowed(b, env.get(u.id)!, t),
      elementType[t.dtype as Plain],
      t.shape,
    )
  }
  return b.encode()
}

/** Equations that repeat forward work stay apart from what they repeat. */
const saltOf = (e: Eqn): string => (e.place.stage === 'recompute' ? 'again' : '')

const run = (
  b: ModelBuilder,
  e: Eqn,
  types: ReadonlyMap<Id, TensorType>,
  env: ReadonlyMap<Id, Value>,
): ReadonlyArray<Value> => {
  const site: Site<never> = {
    attrs: e.attrs as never,
    args: e.args.map((a) => env.get(a)!),
    types: e.args.map((a) => types.get(a)!),
    outs: e.types,
    n: nodesOf(b, saltOf(e)),
  }
  return (kernels[e.op] as Kernel<never>)(site)
}

/** A 16-bit result is rounded as a GPU would store it. */
const rounded = (b: ModelBuilder, v: Value, e: Eqn, i: number): Value => {
  const t = e.types[i]!
  if (!narrow(t)) return v
  const n = nodesOf(b, saltOf(e))
  return n.cast(n.cast(v, t.dtype === 'f16' ? CAST.f16 : CAST.bf16), CAST.f32)
}
