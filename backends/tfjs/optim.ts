/** The parameter update. */
import { DT } from './tf.ts'
import type { Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

export const clipCoefficient: KernelOf<'clipCoefficient'> = ({ n, attrs, args }) => [
  n.one('Minimum', [
    n.scalar(1),
    n.div(n.scalar(attrs.max), n.add(n.sqrt(args[0]!), n.scalar(1e-6))),
  ]),
]

export const adamw: KernelOf<'adamw'> = ({ n, attrs: a, args }) => {
  const [p, g0, m0, v0, lr, step] = args as [Value, Value, Value, Value, Value, Value]
  const k = n.scalar
  const g = a.decoupled || a.decay === 0 ? g0 : n.add(g0, n.mul(p, k(a.decay)))
  const m = n.add(n.mul(m0, k(a.beta1)), n.mul(g, k(1 - a.beta1)))
  const v = n.add(n.mul(v0, k(a.beta2)), n.mul(n.square(g), k(1 - a.beta2)))
  // 1 − βᵗ in f64: in f32 the first steps would lose half their digits. β comes from an f32, mended by its rest.
  const f64 = (x: number) =>
    n.add(n.cast(k(Math.fround(x)), DT.f64), n.cast(k(x - Math.fround(x)), DT.f64))
  const t = n.cast(step, DT.f64)
  const rest = (beta: number) => n.sub(f64(1), n.one('Pow', [f64(beta), t]))
  const rate = n.cast(n.div(n.cast(lr, DT.f64), rest(a.beta1)), DT.f32)
  const root = n.cast(n.sqrt(rest(a.beta2)), DT.f32)
  const change = n.div(n.mul(m, rate), n.add(n.div(n.sqrt(v), root), k(a.eps)))
  const kept = a.decoupled && a.decay > 0 ? n.mul(p, n.sub(k(1), n.mul(lr, k(a.decay)))) : p
  return [n.sub(kept, change), m, v]
}

/** Steps without overflow after which the scale doubles. */
const GROWTH_INTERVAL = 2000

export const lossScale: KernelOf<'lossScale'> = ({ n, args: [scale, streak, finite] }) => {
  const longer = n.add(streak!, n.scalar(1))
  const full = n.one('GreaterEqual', [longer, n.scalar(GROWTH_INTERVAL)])
  const grown = n.where(full, n.mul(scale!, n.scalar(2)), scale!)
  return [
    n.where(finite!, grown, n.mul(scale!, n.scalar(0.5))),
    n.where(finite!, n.where(full, n.scalar(0), longer), n.scalar(0)),
  ]
}
