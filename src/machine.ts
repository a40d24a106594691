/** What this machine has for a job whose arena lies in its own memory. */
import os from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from './issue.ts'
import { size } from './report/units.ts'

/** Bytes that a process may take: the machine's, or less where its container says so. */
export const machineMemory = (): number => {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem()
}

/** Whether a backend's tensors are ordinary memory of the process; TensorFlow's are, where the plan is for no GPU. */
const hosted = (backend: string, device: object | null): boolean =>
  backend === 'onnx' || backend === 'reference' || (backend === 'tfjs' && device === null)

/** What is said of an arena that cannot be had here; null: it can. */
export const lacksMemory = (arena: number, memory = machineMemory()): string | null =>
  arena <= memory ? null : `it takes ${size(arena)} of memory, and this machine has ${size(memory)}`

/** Left: what a run allocates is more than there is; said before it is tried. */
export const affordable = (
  backend: string,
  arena: number,
  device: object | null = null,
  memory = machineMemory(),
): E.Either<Issue, void> => {
  const lacks = hosted(backend, device) ? lacksMemory(arena, memory) : null
  return lacks === null
    ? E.right(undefined)
    : E.left(
        issue(`the job cannot run here: ${lacks}`, {
          hint: 'tunec memory shows what takes it, and with --budget what would make it fit',
        }),
      )
}
