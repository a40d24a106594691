/** Checksums of large tensors by threads of their own: one thread hashes slower than a file is read. */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import type { Checkpoint, OpenTensor } from './reader.ts'
import type { Sum } from './sums.ts'

/** As text: a thread loads no TypeScript, and the build's file would have another name. */
const BODY = `
const { parentPort } = require('node:worker_threads')
const { createHash } = require('node:crypto')
const { readSync } = require('node:fs')
const chunk = Buffer.allocUnsafeSlow(2 ** 20)
const sumOf = (fd, begin, end) => {
  const hash = createHash('sha256')
  for (let at = begin; at < end; ) {
    const filled = readSync(fd, chunk, 0, Math.min(chunk.length, end - at), at)
    if (filled === 0) throw new Error('the file ended at ' + at)
    hash.update(chunk.subarray(0, filled))
    at += filled
  }
  return hash.digest('hex')
}
parentPort.on('message', ({ fd, begin, end }) => {
  try {
    parentPort.postMessage({ sum: sumOf(fd, begin, end) })
  } catch (e) {
    parentPort.postMessage({ failed: String(e.message) })
  }
})
`

/** Enough that hashing keeps up with reading. */
const MOST = 4

export interface Hashing {
  /** The SHA-256 of a tensor's bytes, when its turn comes. */
  readonly sum: (base: Checkpoint, name: string) => TE.TaskEither<Issue, Sum>
  readonly close: () => Promise<void>
}

const unreadable = (file: string, why: string): Issue =>
  issue(`cannot read the file: ${why}`, { file, hint: 'check the disk; the file may be damaged' })

const ask =
  (worker: Worker) =>
  ({ entry, fd }: OpenTensor): TE.TaskEither<Issue, Sum> =>
    TE.tryCatch(
      () =>
        new Promise<Sum>((resolve, reject) => {
          worker.once('error', reject)
          worker.once('message', (m: { readonly sum?: Sum; readonly failed?: string }) => {
            worker.off('error', reject)
            if (m.sum === undefined) reject(new Error(m.failed))
            else resolve(m.sum)
          })
          worker.postMessage({ fd, begin: entry.begin, end: entry.end })
        }),
      (e) => unreadable(entry.file, e instanceof Error ? e.message : String(e)),
    )

export const openHashing = (): Hashing => {
  const alive = new Set<Worker>()
  const idle: Array<Worker> = []
  const waiting: Array<(w: Worker) => void> = []
  const most = Math.max(1, Math.min(MOST, availableParallelism()))
  const start = (): Worker => {
    const made = new Worker(BODY, { eval: true })
    alive.add(made)
    made.once('error', () => alive.delete(made))
    return made
  }
  const taken = async (): Promise<Worker> => {
    const free = idle.pop()
    if (free !== undefined) return free
    return alive.size < most ? start() : new Promise((resolve) => waiting.push(resolve))
  }
  const give = (w: Worker): void => {
    const next = waiting.shift()
    if (next !== undefined) next(alive.has(w) ? w : start())
    else if (alive.has(w)) idle.push(w)
  }
  return {
    sum: (base, name) => async () => {
      const worker = await taken()
      const sum = await base.open(name, ask(worker))()
      give(worker)
      return sum
    },
    close: async () => {
      await Promise.all([...alive].map((w) => w.terminate()))
    },
  }
}
