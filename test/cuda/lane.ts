/** A lane of loading over an arena on the host: what is sent arrives when a fence is waited for, kernels are emulated. */
import * as E from 'fp-ts/lib/Either.js'
import type { Cuda } from '../../backends/cuda/driver/error.ts'
import type { Lane } from '../../backends/cuda/load.ts'
import { emulate } from './emulate.ts'

const done: Cuda<void> = E.right(undefined)

/** As late as a device may be: a buffer that is filled again too early is sent with its new bytes. */
export const laneOf = (arena: Buffer, bytes = 2 ** 20): Lane => {
  const buffers = [new Uint8Array(bytes), new Uint8Array(bytes)] as const
  const pending: Array<() => void> = []
  const settle = (until: number): Cuda<void> => {
    for (const work of pending.splice(0, until)) work()
    return done
  }
  let put = 0
  let settled = 0
  const later = (work: () => void): Cuda<void> => {
    put += 1
    pending.push(work)
    return done
  }
  const until = (mark: number): Cuda<void> => {
    const r = settle(Math.max(0, mark - settled))
    settled = Math.max(settled, mark)
    return r
  }
  return {
    buffers,
    send: (to, buffer, from, length) =>
      later(() => {
        if (to + length > arena.length || from + length > bytes) throw new Error('sent too much')
        arena.set(buffers[buffer]!.subarray(from, from + length), to)
      }),
    run: (l) => later(() => emulate(arena, [l])),
    fence: () => {
      const mark = put
      return E.right(() => until(mark))
    },
    copyOut: (into, from) => {
      until(put)
      into.set(arena.subarray(from, from + into.length))
      return done
    },
  }
}
