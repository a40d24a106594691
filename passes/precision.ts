/**
 * Mixed precision (Micikevicius et al. 2018): compute and frozen weights in 16 bits, trainable masters and reductions in f32.
 * `float8`: as bf16, and the products with frozen linear weights in 8-bit floats, forward and backward (Micikevicius et al. 2022).
 */
import * as E from 'fp-ts/lib/Either.js'
import { building } from '../ir/build.ts'
import type { Fn, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import type { Float8 } from '../ir/number.ts'
import { unsupported } from '../ir/reason.ts'
import { isFloat, isFourBit, like, scalar, type Float } from '../ir/type.ts'
import { linearWeights } from './linear.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'

export type Compute = Float | 'float8'

export interface Precision {
  readonly compute: Compute
  /** What `float8` rounds cotangents to; e4m3 where nothing is said. */
  readonly back?: Float8
}

/** What values are stored in. */
const storedAs = (c: Compute): Float => (c === 'float8' ? 'bf16' : c)

/** torch.amp.GradScaler's starting scale. */
const INITIAL_SCALE = 65536
export const SCALE = 'scaler.scale'
export const STREAK = 'scaler.streak'

const scaler = (name: string, value: number): State => ({
  name,
  type: scalar('f32'),
  role: 'scaler',
  recipe: { _tag: 'fill', value },
})

const narrowed =
  (compute: Float) =>
  (s: State): State =>
    (s.role === 'frozen' || s.role === 'cache') && isFloat(s.type.dtype)
      ? { ...s, type: like(s.type, compute) }
      : s

/** Masters are cast where they are used, to what they meet there; decoding goes straight to the compute dtype. */
const narrow =
  (compute: Float): Rule =>
  ({ eqn, args, b, state }) => {
    if (eqn.op === 'dequantize') return [b.alg.dequantize(compute, args[0]!)]
    const met = args.find((a, i) => state(i) === undefined && isFloat(b.typeOf(a).dtype))
    const to = met === undefined ? compute : b.typeOf(met).dtype
    const cast = args.map((a, i) => (state(i)?.role === 'train' ? b.alg.cast(to, a) : a))
    return copy(b, eqn, cast)
  }

/** Generation reads weights for few rows at a time: there 8 bits in flight gain nothing and stay out. */
const generates = (f: Fn, states: ReadonlyMap<string, State>): boolean =>
  f.reads.some((r) => states.get(r.state)?.role === 'cache')

/** Before differentiation, so that the backward's products are of 8 bits too. */
const inFloat8 =
  (frozen: ReadonlySet<string>, back: Float8, then: Rule): Rule =>
  (site) => {
    const { eqn, args, b, state } = site
    return eqn.op === 'dot' && frozen.has(state(1)?.name ?? '')
      ? [b.alg.float8Dot({ tb: true, left: 'e4m3', back }, args[0]!, args[1]!)]
      : then(site)
  }

/** f16 gradients underflow: the loss is multiplied by a scale that the update divides out again. */
const scaled = (f: Fn, states: ReadonlyMap<string, State>, rule: Rule): Fn =>
  rebuild(f, states, rule, (b, now) => {
    const outs = f.outs.map((o) => ({ ...o, id: now(o.id) }))
    const loss = outs.find((o) => o.name === f.minimizes)!
    const objective = b.at({ scope: 'loss', stage: 'forward' }, () =>
      b.alg.mul(loss.id, b.read(states.get(SCALE)!)),
    )
    return { outs: [...outs, { name: 'scaled_loss', id: objective }], minimizes: 'scaled_loss' }
  })

/** Those of 8-bit integers have products of their own. */
const isWeight = (s: State): boolean => isFloat(s.type.dtype) || isFourBit(s.type.dtype)
const nothingFrozen = unsupported(
  'float8 is for products with frozen linear weights, and none is frozen: add an adapter, or compute in bfloat16',
)

export const precision = (o: Precision): Pass => ({
  name: `precision(${o.compute}${o.back === undefined ? '' : `, back=${o.back}`})`,
  keeps: o.compute === 'f32' ? 'exact' : 'approx',
  run: (p) => {
    if (o.compute === 'f32') return E.right(p)
    const compute = storedAs(o.compute)
    const frozen = new Set(
      linearWeights(p).flatMap((s) => (s.role === 'frozen' && isWeight(s) ? [s.name] : [])),
    )
    if (o.compute === 'float8' && frozen.size === 0) return E.left(nothingFrozen)
    const scaling = o.compute === 'f16' && p.fns.some((f) => f.minimizes !== undefined)
    const extra = scaling ? [scaler(SCALE, INITIAL_SCALE), scaler(STREAK, 0)] : []
    const state = [...p.state.map(narrowed(compute)), ...extra]
    const states = stateOf({ ...p, state })
    const plain = narrow(compute)
    const eight = inFloat8(frozen, o.back ?? 'e4m3', plain)
    const ruleOf = (f: Fn): Rule =>
      o.compute === 'float8' && !generates(f, states) ? eight : plain
    return building((): Program => ({
      ...p,
      state,
      fns: p.fns.map((f) =>
        scaling && f.minimizes !== undefined
          ? scaled(f, states, ruleOf(f))
          : rebuild(f, states, ruleOf(f)),
      ),
    }))
  },
  promise: (p) => {
    const wide = p.state.find((s) => s.role === 'frozen' && s.type.dtype === 'f32')
    return o.compute === 'f32' || wide === undefined
      ? null
      : `frozen weights are 16 bits or fewer, but ${wide.name} is f32`
  },
})
