/** Mixed precision (Micikevicius et al. 2018): compute and frozen weights in 16 bits, trainable masters and reductions in f32. */
import * as E from 'fp-ts/lib/Either.js'
import { building } from '../ir/build.ts'
import type { Fn, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { isFloat, like, scalar, type Float } from '../ir/type.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'

export interface Precision {
  readonly compute: Float
}

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

/** Masters are cast where they are used; decoding goes straight to the compute dtype. */
const narrow =
  (compute: Float): Rule =>
  ({ eqn, args, b, state }) => {
    if (eqn.op === 'dequantize') return [b.alg.dequantize(compute, args[0]!)]
    const cast = args.map((a, i) => (state(i)?.role === 'train' ? b.alg.cast(compute, a) : a))
    return copy(b, eqn, cast)
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

export const precision = (o: Precision): Pass => ({
  name: `precision(${o.compute})`,
  keeps: o.compute === 'f32' ? 'exact' : 'approx',
  run: (p) => {
    if (o.compute === 'f32') return E.right(p)
    const scaling = o.compute === 'f16' && p.fns.some((f) => f.minimizes !== undefined)
    const extra = scaling ? [scaler(SCALE, INITIAL_SCALE), scaler(STREAK, 0)] : []
    const state = [...p.state.map(narrowed(o.compute)), ...extra]
    const states = stateOf({ ...p, state })
    const rule = narrow(o.compute)
    return building((): Program => ({
      ...p,
      state,
      fns: p.fns.map((f) =>
        scaling && f.minimizes !== undefined ? scaled(f, states, rule) : rebuild(f, states, rule),
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
