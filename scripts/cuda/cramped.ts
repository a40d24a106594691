/** Sessions on a GPU whose every allocation lies between guarded ends, and that begin with temporaries of NaN. */
import type { Room, Session } from '../../backends/backend.ts'
import type { Gpu } from '../../backends/cuda/driver/gpu.ts'
import { open as openGpu, targetOf, type Settings } from '../../backends/cuda/index.ts'
import { lower } from '../../backends/cuda/lower/lower.ts'
import { openSession, WORKSPACE } from '../../backends/cuda/session.ts'
import type { Program } from '../../ir/graph.ts'
import { bytes } from '../../ir/type.ts'
import { right } from '../../test/right.ts'

export interface Opened {
  readonly session: Session
  /** What went wrong since it was opened, besides errors of the session. */
  readonly faults: () => ReadonlyArray<string>
}

export interface Cramped {
  readonly open: (p: Program, room: Room | null) => Promise<Opened>
  readonly close: () => void
}

const GUARD = 2 ** 20
const VALUE = 0xa5
/** NaN in every float type. */
const GARBAGE = 0xff

interface Held {
  readonly inner: bigint
  readonly asked: number
}

/** The GPU with every allocation between guards; closing a session gives back its allocations and graphs, not the GPU. */
const guarding = (gpu: Gpu) => {
  const guard = new Uint8Array(GUARD).fill(VALUE)
  let held: Held[] = []
  let graphs: Array<Parameters<Gpu['destroy']>[0]> = []
  const wrapped: Gpu = {
    ...gpu,
    allocate: (asked) => {
      const made = gpu.allocate(asked + 2 * GUARD)
      if (made._tag === 'Left') return made
      const behind = made.right + BigInt(GUARD + asked)
      right(gpu.copyIn(made.right, guard))
      right(gpu.copyIn(behind, guard))
      held.push({ inner: made.right, asked })
      return { ...made, right: made.right + BigInt(GUARD) }
    },
    capture: (body) => {
      const made = gpu.capture(body)
      if (made._tag === 'Right') graphs.push(made.right)
      return made
    },
    close: () => {
      for (const g of graphs) right(gpu.destroy(g))
      for (const h of held) right(gpu.free(h.inner))
      ;[graphs, held] = [[], []]
      return { _tag: 'Right', right: undefined }
    },
  }
  const touched = (): ReadonlyArray<string> =>
    held.flatMap(({ inner, asked }) =>
      [inner, inner + BigInt(GUARD + asked)].flatMap((at, i) => {
        const now = new Uint8Array(GUARD)
        right(gpu.copyOut(now, at))
        const first = now.findIndex((b) => b !== VALUE)
        const side = i === 0 ? 'before' : 'behind'
        return first < 0
          ? []
          : [`a byte ${side} an allocation of ${asked} bytes was written, at ${first}`]
      }),
    )
  return { wrapped, touched, sizes: () => held.map((h) => h.asked) }
}

export const cramped = (s: Settings): Cramped => {
  const gpu = right(openGpu(s))
  return {
    open: async (p, room) => {
      const { wrapped, touched, sizes } = guarding(gpu)
      const lowered = lower(p, { ...targetOf(gpu), ...room })
      const session = right(openSession(wrapped, lowered))
      const base = session.device.base
      const stateEnd = Math.max(
        0,
        ...[...lowered.state.values()].map((x) => x.offset + bytes(x.type)),
      )
      const from = Math.ceil(stateEnd / 256) * 256
      const garbage = new Uint8Array(lowered.arenaBytes - from).fill(GARBAGE)
      return {
        session: {
          ...session,
          run: (fn, inputs) => async () => {
            right(gpu.copyIn(base + BigInt(from), garbage))
            return session.run(fn, inputs)()
          },
        },
        faults: () => {
          const want = [WORKSPACE, lowered.arenaBytes].join()
          return [
            ...touched(),
            ...(sizes().join() === want ? [] : [`allocated ${sizes().join()}, planned ${want}`]),
          ]
        },
      }
    },
    close: () => {
      right(gpu.close())
    },
  }
}
