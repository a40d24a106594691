/** Cards of 8-bit state: encoding, decoding, and Adam on moments that stay encoded. */
import type { Adam } from '../../../ir/algebra.ts'
import { BLOCK } from '../../../ir/eight.ts'
import {
  at,
  divide,
  f32,
  kernel,
  launch,
  macros,
  maybe,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
} from './card.ts'

/** Codes and the scale of each block. */
export interface Coded {
  readonly codes: Place
  readonly scales: Place
}

const blocks = (
  name: string,
  n: number,
  args: ReadonlyArray<Arg>,
  bytes: number,
  flops: number,
): KernelLaunch =>
  launch(
    kernel('eight.cu', name, macros('f32', 'f32')),
    [divide(n, BLOCK)],
    BLOCK,
    args,
    bytes * n,
    flops * n,
  )

interface One extends Coded {
  readonly n: number
  readonly unsigned: boolean
}

export const encode8 = (o: One & { readonly x: Place }): KernelLaunch =>
  blocks(
    'encode8_blocks',
    o.n,
    [at(o.x), at(o.codes), at(o.scales), u32(o.n), u32(o.unsigned ? 1 : 0)],
    5,
    10,
  )

export const decode8 = (o: One & { readonly out: Place }): KernelLaunch =>
  blocks(
    'decode8_blocks',
    o.n,
    [at(o.codes), at(o.scales), at(o.out), u32(o.n), u32(o.unsigned ? 1 : 0)],
    5,
    1,
  )

/** New values may lie over old ones. */
export const adamw8 = (o: {
  readonly adam: Adam
  readonly n: number
  readonly p: Place
  readonly g: Place
  readonly m: Coded
  readonly v: Coded
  readonly nextP: Place
  readonly nextM: Coded
  readonly nextV: Coded
  readonly rate: Place
  readonly step: Place
  readonly multiplier?: Place
}): KernelLaunch => {
  const { beta1, beta2, eps, decay, decoupled } = o.adam
  const places = [
    ...[o.p, o.g, o.m.codes, o.m.scales, o.v.codes, o.v.scales],
    ...[o.nextP, o.nextM.codes, o.nextM.scales, o.nextV.codes, o.nextV.scales],
  ]
  const betas = [beta1, 1 - beta1, Math.log(beta1), beta2, 1 - beta2, Math.log(beta2)]
  return blocks(
    'adamw8',
    o.n,
    [
      ...places.map(at),
      maybe(o.multiplier),
      at(o.rate),
      at(o.step),
      ...[...betas, eps, decay].map(f32),
      u32(decoupled ? 1 : 0),
      u32(o.n),
    ],
    16,
    32,
  )
}
