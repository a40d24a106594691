/** The cuda backend's launch lists on the CPU: the kernels' own sources emulated, products by the kernel of our own. No driver, no library. */
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import {
  backendError,
  type Backend,
  type BackendError,
  type Feeds,
  type Room,
  type Session,
} from '../../backends/backend.ts'
import { decode, encode, misfit } from '../../backends/bytes.ts'
import { chosenOuts } from '../../backends/wanted.ts'
import { ownProduct } from '../../backends/cuda/bind.ts'
import type { Target } from '../../backends/cuda/lower/context.ts'
import { asBackendError } from '../../backends/cuda/failure.ts'
import { fillInto, loadInto } from '../../backends/cuda/load.ts'
import { lower, type Lowered, type Port } from '../../backends/cuda/lower/lower.ts'
import type { Rule } from '../../backends/cuda/lower/rule.ts'
import { rules as allRules } from '../../backends/cuda/lower/rules/index.ts'
import type { Work } from '../../backends/cuda/launch.ts'
import type { Program } from '../../ir/graph.ts'
import { bytes, size } from '../../ir/type.ts'
import { emulate, type Part } from './emulate.ts'
import { laneOf } from './lane.ts'

const perform = (arena: Buffer, w: Work, changing: ReadonlyArray<Part> = []): void => {
  switch (w._tag) {
    case 'kernel':
      return emulate(arena, [w], changing)
    case 'product':
      return emulate(arena, [ownProduct(w)])
    case 'clear':
      arena.fill(0, w.offset, w.offset + w.length)
      return
    case 'copy':
      arena.copyWithin(w.to, w.from, w.from + w.length)
  }
}

const fail = (message: string): E.Either<BackendError, never> =>
  E.left(backendError('emulated', message))

/** Memory that nothing has written yet holds NaN in every float type. */
const GARBAGE = 0xff
/** What lies before and behind the arena, and nobody may write. */
const GUARD = { bytes: 8192, value: 0xa5 }

const guardedArena = (length: number) => {
  const memory = Buffer.alloc(length + 2 * GUARD.bytes, GUARD.value)
  const arena = memory.subarray(GUARD.bytes, GUARD.bytes + length).fill(0)
  const touched = (): boolean =>
    [memory.subarray(0, GUARD.bytes), memory.subarray(GUARD.bytes + length)].some((end) =>
      end.some((b) => b !== GUARD.value),
    )
  return { arena, touched }
}

/** A session whose launches can be looked at. */
export interface Emulated extends Backend {
  readonly prepare: (
    p: Program,
    room?: Room | null,
  ) => TE.TaskEither<BackendError, Session & { readonly lowered: Lowered }>
}

export const emulated = (target: Target, rules: ReadonlyArray<Rule> = allRules): Emulated => ({
  name: `cuda emulated as sm_${target.arch}`,
  doc: 'launch lists of the cuda backend on the CPU',
  diagnose: async () => null,
  prepare: (program, room) => {
    const lowered = lower(program, { ...target, ...room }, rules)
    const { arena, touched } = guardedArena(lowered.arenaBytes)
    const view = (port: Port) => arena.subarray(port.offset, port.offset + bytes(port.type))
    // Caches and temporaries: all that the launches of a function with early ones write.
    const changing = [
      ...program.state.flatMap((x) =>
        x.role === 'cache'
          ? [{ offset: lowered.state.get(x.name)!.offset, length: bytes(x.type) }]
          : [],
      ),
      { offset: lowered.constants.end, length: lowered.arenaBytes - lowered.constants.end },
    ]
    let stale = true
    const settle = (): void => {
      if (stale) for (const l of lowered.constants.launches) perform(arena, l)
      stale = false
    }
    return TE.right<BackendError, Session & { readonly lowered: Lowered }>({
      lowered,
      run: (name: string, inputs: Feeds, wanted?: ReadonlyArray<string>) => async () => {
        const f = lowered.fns.find((x) => x.name === name)
        if (f === undefined) return fail(`no function ${name}`)
        const asked = chosenOuts(f, wanted)
        if (typeof asked === 'string') return fail(asked)
        arena.fill(GARBAGE, Math.ceil(lowered.constants.end / 256) * 256)
        settle()
        for (const port of f.inputs) {
          const given = inputs[port.name]
          if (given?.length !== size(port.type)) return fail(`%${port.name}`)
          view(port).set(encode(port.type, given))
        }
        for (const l of f.launches) perform(arena, l, changing)
        if (touched()) return fail(`@${name} writes outside the arena`)
        return E.right(
          Object.fromEntries(
            asked.map((o) => {
              const x = decode(o.type, Uint8Array.from(view(o)))
              return [o.name, o.type.dtype === 'i32' ? Int32Array.from(x) : Float32Array.from(x)]
            }),
          ),
        )
      },
      read: (name: string) => async () => {
        const s = lowered.state.get(name)
        return s === undefined ? fail(`no state ${name}`) : E.right(Uint8Array.from(view(s)))
      },
      write: (name: string, given: Uint8Array) => async () => {
        const s = lowered.state.get(name)
        if (s === undefined) return fail(`no state ${name}`)
        const why = misfit(s.type, given)
        if (why !== null) return fail(why)
        view(s).set(given)
        stale ||= lowered.constants.of.has(name)
        return E.right(undefined)
      },
      loader: () => {
        const lane = laneOf(arena)
        const load = loadInto(lane, lowered)
        return TE.right({
          load: (name, stored) => {
            stale = true
            return load(lowered.state.get(name)!, stored)
          },
          fill: (name, value) => {
            stale = true
            return TE.fromEither(
              E.mapLeft(asBackendError)(fillInto(lane, lowered.state.get(name)!, value)),
            )
          },
          close: () => TE.fromEither(E.mapLeft(asBackendError)(lane.copyOut(new Uint8Array(0), 0))),
        })
      },
      close: () => TE.right(undefined),
    })
  },
})
