/** What an adapter's files hold of a session: its trained tensors, and of one that was taken out of its base the difference to the start. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program, State } from '../../ir/graph.ts'
import type { Lora, Pattern } from '../../passes/index.ts'
import type { Issue } from '../issue.ts'
import { readState } from '../train/states.ts'
import type { Adapter } from './config.ts'
import { isA, isB, trainedOf } from './names.ts'

/** Bytes of a trained tensor before the first step. */
export type Start = (s: State) => TE.TaskEither<Issue, Uint8Array>

export interface Written {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly data: () => TE.TaskEither<Issue, Uint8Array>
}

const isSplit = (o: Adapter): o is Lora =>
  o.kind !== 'ia3' && (o.init === 'pissa' || o.init === 'olora')

const times = (by: number, of: Pattern): Pattern =>
  Object.fromEntries(Object.entries(of).map(([k, v]) => [k, by * v]))

/** As the file says it is: over the base as it was before anything was taken out, B·A − B₀·A₀ has twice the rank and the same scale. */
export const asWritten = (o: Adapter): Adapter => {
  if (!isSplit(o)) return o
  const { init: _, ranks, alphas, ...rest } = o
  const alpha = o.rslora === true ? Math.SQRT2 : 2
  return {
    ...rest,
    r: 2 * o.r,
    alpha: alpha * o.alpha,
    ...(ranks === undefined ? {} : { ranks: times(2, ranks) }),
    ...(alphas === undefined ? {} : { alphas: times(alpha, alphas) }),
  }
}

const f32 = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer)

/** The rows of A, then those it started as. */
const above = (a: Uint8Array, a0: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([a, a0]))

/** The columns of B, and beside them those it started as, taken away. */
const beside = (b: Uint8Array, b0: Uint8Array, r: number): Uint8Array => {
  const [now, then] = [f32(b), f32(b0)]
  const both = new Float32Array(2 * now.length).map((_, i) => {
    const [row, k] = [Math.floor(i / (2 * r)), i % (2 * r)]
    return k < r ? now[row * r + k]! : -then[row * r + k - r]!
  })
  return new Uint8Array(both.buffer)
}

/** Every tensor of the file. */
export const writtenOf = (
  session: Session,
  program: Program,
  o: Adapter,
  start: Start,
): ReadonlyArray<Written> =>
  trainedOf(program, o).map(({ state, name, shape }): Written => {
    const [first, second] = shape as readonly [number, number]
    const now = readState(session, state)
    if (!isSplit(o) || !(isA(name) || isB(name))) return { name, shape, data: () => now }
    const both = pipe(
      TE.Do,
      TE.bind('is', () => now),
      TE.bind('was', () => start(state)),
    )
    return isA(name)
      ? {
          name,
          shape: [2 * first, second],
          data: () => TE.map((x: Both) => above(x.is, x.was))(both),
        }
      : {
          name,
          shape: [first, 2 * second],
          data: () => TE.map((x: Both) => beside(x.is, x.was, second))(both),
        }
  })

interface Both {
  readonly is: Uint8Array
  readonly was: Uint8Array
}
