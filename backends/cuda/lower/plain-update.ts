/** The ops of the parameter update alone, and of its state in 8 bits. */
import type { Adam } from '../../../ir/algebra.ts'
import type * as eightOps from '../../../ir/ops/eight.ts'
import type * as optimOps from '../../../ir/ops/optim.ts'
import { size } from '../../../ir/type.ts'
import * as eight from '../kernels/eight.ts'
import * as optim from '../kernels/optim.ts'
import { alone, type Lowering } from './alone.ts'
import { attr } from './pattern.ts'

export const updates: { readonly [K in keyof typeof optimOps | keyof typeof eightOps]: Lowering } =
  {
    encode8: (c, s) =>
      alone(c, s, (h) => [
        eight.encode8({
          n: size(s.eqn.types[0]!),
          unsigned: attr<boolean>(s, 'unsigned'),
          x: h.argAt(0),
          codes: h.outAt(0),
          scales: h.outAt(1),
        }),
      ]),
    decode8: (c, s) =>
      alone(c, s, (h) => [
        eight.decode8({
          n: size(s.eqn.types[0]!),
          unsigned: attr<boolean>(s, 'unsigned'),
          codes: h.argAt(0),
          scales: h.argAt(1),
          out: h.outAt(),
        }),
      ]),
    clipCoefficient: (c, s) =>
      alone(c, s, (h) => [
        optim.clipCoefficient({ squares: h.argAt(0), out: h.outAt(), max: attr(s, 'max') }),
      ]),
    adamw: (c, s) =>
      alone(c, s, (h) => [
        optim.adamw({
          adam: s.eqn.attrs as unknown as Adam,
          n: size(s.eqn.types[0]!),
          p: h.argAt(0),
          g: h.argAt(1),
          m: h.argAt(2),
          v: h.argAt(3),
          nextP: h.outAt(0),
          nextM: h.outAt(1),
          nextV: h.outAt(2),
          rate: h.argAt(4),
          step: h.argAt(5),
        }),
      ]),
    lossScale: (c, s) =>
      alone(c, s, (h) => [
        optim.lossScale({
          scale: h.argAt(0),
          streak: h.argAt(1),
          finite: h.argAt(2),
          nextScale: h.outAt(0),
          nextStreak: h.outAt(1),
        }),
      ]),
  }
