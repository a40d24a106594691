/** Weights for measuring: the same random numbers in every run, written into a session. */
import type { CudaSession } from '../backends/cuda/session.ts'
import { randomContents } from '../src/profile/contents.ts'
import { right } from './right.ts'

export const fill = async (s: CudaSession): Promise<void> => {
  for (const x of s.lowered.program.state) {
    if (x.role === 'frozen' || x.role === 'train') right(await s.write(x.name, randomContents(x))())
  }
}

export const median = (list: ReadonlyArray<number>): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!
