/** A function of a program as one ONNX model: equations in order, products and the sums around them fused. */
import type { Eqn, Fn, Id, Program, State } from '../../ir/graph.ts'
import { stateOf, typesOf } from '../../ir/graph.ts'
import { isEncoded, parts, type Plain, type TensorType } from '../../ir/type.ts'
import { attendBeside } from './beside.ts'
import { cachesOf, type Caches } from './cache.ts'
import { waiting, type Product } from './fuse.ts'
import { kernels, type Kernel } from './kernels.ts'
import { modelBuilder, type ModelBuilder, type Value } from './model.ts'
import type { ElemType } from './proto.ts'
import { decodedProduct, partName } from './quant.ts'
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

/** The name under which a function returns a new state value, or the rows it adds to a cache. */
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

/** How a model sees a state tensor: caches that are written in place lie heads first. */
export const storedType = ({ name, type }: State, heads: Caches['heads']): TensorType => {
  const count = heads.get(name)
  if (count === undefined) return type
  const [batch, capacity, width] = type.shape as [number, number, number]
  return { ...type, shape: [batch, count, capacity, width / count] }
}

/** The bytes of the ONNX model of a function. */
export const emit = (p: Program, f: Fn): Uint8Array => {
  const b = modelBuilder()
  const [types, states] = [typesOf(p, f), stateOf(p)]
  const { products, weights } = waiting(f, types)
  const caches = cachesOf(p)
  const writes = caches.writes(f)
  const env = new Map<Id, Value>()
  for (const i of f.inputs) env.set(i.id, declare(b, i.name, i.type))
  for (const r of f.reads)
    env.set(r.id, declare(b, r.state, storedType(states.get(r.state)!, caches.heads)))
  const gemm = (e: Eqn, { eqn, alpha }: Product, c?: Value): Value => {
    const n = nodesOf(b, saltOf(eqn))
    const { ta, tb } = eqn.attrs as { ta: boolean; tb: boolean }
    const x = env.get(eqn.args[0]!)!
    const weight = weights.get(eqn.args[1]!)
    if (weight === undefined)
      return n.gemm(x, env.get(eqn.args[1]!)!, { ta, tb, alpha, ...(c === undefined ? {} : { c }) })
    const plain = decodedProduct(n, x, siteOf(b, weight, types, env))
    const scaled = alpha === 1 ? plain : n.mul(plain, n.scalar(alpha))
    return c === undefined ? scaled : nodesOf(b, saltOf(e)).add(c, scaled)
  }
  const fused = (e: Eqn): Value | null => {
    const ready = e.args.findIndex((a) => !products.has(a))
    if (e.op === 'scale' && products.has(e.args[0]!))
      return gemm(e, { ...products.get(e.args[0]!)!, alpha: e.attrs['by'] as number })
    if (e.op === 'dot' && weights.has(e.args[1]!)) return gemm(e, { eqn: e, alpha: 1 })
    if (e.op !== 'add' || e.args.every((a) => !products.has(a))) return null
    const at = ready >= 0 ? 1 - ready : 1
    const other = e.args[1 - at]!
    const c = products.has(other) ? gemm(e, products.get(other)!) : env.get(other)!
    return gemm(e, products.get(e.args[at]!)!, c)
  }
  const beside = (e: Eqn): Value => {
    const [k, v] = [writes.get(e.args[1]!)!, writes.get(e.args[2]!)!]
    const args = [e.args[0]!, k.cache, v.cache, e.args[3]!, k.rows, v.rows]
    return attendBeside(siteOf(b, { ...e, args }, types, env))
  }
  for (const e of f.eqns) {
    if ([products, weights, writes].some((elsewhere) => elsewhere.has(e.outs[0]!))) continue
    const whole = e.op === 'cachedAttention' && writes.has(e.args[1]!) ? beside(e) : fused(e)
    const results =
      whole === null ? (kernels[e.op] as Kernel<never>)(siteOf(b, e, types, env)) : [whole]
    e.outs.forEach((o, i) => env.set(o, rounded(b, results[i]!, e, i)))
  }
  for (const o of f.outs)
    b.output(o.name, env.get(o.id)!, returnedType(types.get(o.id)!), types.get(o.id)!.shape)
  for (const u of f.updates) {
    const id = writes.get(u.id)?.rows ?? u.id
    const t = types.get(id)!
    b.output(
      nextName(u.state),
      narrowed(b, env.get(id)!, t),
      elementType[t.dtype as Plain],
      t.shape,
    )
  }
  return b.encode()
}

/** Equations that repeat forward work stay apart from what they repeat. */
const saltOf = (e: Eqn): string => (e.place.stage === 'recompute' ? 'again' : '')

const siteOf = (
  b: ModelBuilder,
  e: Eqn,
  types: ReadonlyMap<Id, TensorType>,
  env: ReadonlyMap<Id, Value>,
): Site<never> => ({
  attrs: e.attrs as never,
  args: e.args.map((a) => env.get(a)!),
  types: e.args.map((a) => types.get(a)!),
  outs: e.types,
  n: nodesOf(b, saltOf(e)),
})

/** A 16-bit result is rounded as a GPU would store it. */
const rounded = (b: ModelBuilder, v: Value, e: Eqn, i: number): Value => {
  const t = e.types[i]!
  if (!narrow(t)) return v
  const n = nodesOf(b, saltOf(e))
  return n.cast(n.cast(v, t.dtype === 'f16' ? CAST.f16 : CAST.bf16), CAST.f32)
}
