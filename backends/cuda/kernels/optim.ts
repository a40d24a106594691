/** Cards of the update: Adam over one flat range, clipping, the loss scale. */
import type { Adam } from '../../../ir/algebra.ts'
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  f32,
  kernel,
  launch,
  maybe,
  macros,
  u32,
  type KernelLaunch,
  type Place,
} from './card.ts'

/** Parameters, gradients and moments are f32, side by side, `n` of each; new ones may lie over old ones. Rate and step are f32 scalars in device memory. */
export const adamw = (o: {
  readonly adam: Adam
  readonly n: number
  readonly p: Place
  readonly g: Place
  readonly m: Place
  readonly v: Place
  readonly nextP: Place
  readonly nextM: Place
  readonly nextV: Place
  readonly rate: Place
  readonly step: Place
  /** f32 scalar by which gradients are multiplied first (clipping). */
  readonly multiplier?: Place
  /** Also writes the new parameters in the type that products read. */
  readonly copy?: { readonly offset: Place; readonly dtype: Float }
}): KernelLaunch => {
  const { beta1, beta2, eps, decay, decoupled } = o.adam
  return launch(
    kernel('optim.cu', 'adamw', macros('f32', o.copy?.dtype ?? 'f32')),
    [divide(o.n, 2048)],
    256,
    [
      ...[o.p, o.g, o.m, o.v, o.nextP, o.nextM, o.nextV].map(at),
      maybe(o.copy?.offset),
      maybe(o.multiplier),
      at(o.rate),
      at(o.step),
      ...[beta1, 1 - beta1, Math.log(beta1), beta2, 1 - beta2, Math.log(beta2), eps, decay].map(
        f32,
      ),
      u32(decoupled ? 1 : 0),
      u32(o.n),
    ],
    28 * o.n + (o.copy === undefined ? 0 : o.n * elementBytes[o.copy.dtype]),
    12 * o.n,
  )
}

const single = (name: string, args: KernelLaunch['args']): KernelLaunch =>
  launch(kernel('optim.cu', name, macros('f32', 'f32')), [1], 1, args, 8, 4)

/** f32 scalar from the f32 squared norm. */
export const clipCoefficient = (o: {
  readonly squares: Place
  readonly out: Place
  readonly max: number
}): KernelLaunch => single('clip_coefficient', [at(o.squares), at(o.out), f32(o.max)])

/** f32 scale and streak from those before and a bool; may be written in place. */
export const lossScale = (o: {
  readonly scale: Place
  readonly streak: Place
  readonly finite: Place
  readonly nextScale: Place
  readonly nextStreak: Place
}): KernelLaunch =>
  single('loss_scale', [o.scale, o.streak, o.finite, o.nextScale, o.nextStreak].map(at))
