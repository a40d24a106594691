/** What tests of saving need: progress as a run makes it, weights of a seed, and a lock whose owner has died. */
import fs from 'node:fs/promises'
import path from 'node:path'
import type { Session } from '../backends/backend.ts'
import type { Program } from '../ir/graph.ts'
import { bytes } from '../ir/type.ts'
import { random } from '../src/data/random.ts'
import { beginning, type Progress } from '../src/train/progress.ts'
import { right } from './right.ts'

/** After `step` steps, with evaluations after some that gave these mean losses. */
export const progressAt = (
  step: number,
  ...evaluations: ReadonlyArray<readonly [step: number, loss: number]>
): Progress => ({
  ...beginning,
  step,
  applied: step,
  history: evaluations.map(([at, loss]) => ({
    step: at,
    ticks: 2 * at,
    epoch: 0,
    learningRate: 0.02,
    running: 1,
    training: null,
    validation: { lossSum: 4 * loss, correct: 1, scored: 4, sequences: 2, sequencesRight: 0 },
  })),
})

/** Fills everything that a checkpoint holds with finite numbers of a seed. */
export const reseed = async (session: Session, p: Program, seed: number): Promise<void> => {
  for (const [salt, s] of p.state.entries()) {
    if (!['train', 'optimizer', 'scaler'].includes(s.role)) continue
    const draw = random(seed, salt)
    const values = new Float32Array(bytes(s.type) / 4).map(() => draw.next() / 2 ** 32)
    right(await session.write(s.name, new Uint8Array(values.buffer))())
  }
}

/** What lies below a folder under a name that begins with a dot. */
export const hidden = async (folder: string): Promise<ReadonlyArray<string>> =>
  (await fs.readdir(folder, { recursive: true })).filter((p) => path.basename(p).startsWith('.'))

/** The process that holds the folder's lock, if any, is another one that began at another time: it has died. */
export const bury = async (results: string): Promise<void> => {
  const file = path.join(results, '.lock', 'owner.json')
  const text = await fs.readFile(file, 'utf8').catch(() => null)
  if (text === null) return
  const owner = JSON.parse(text) as Record<string, unknown>
  await fs.writeFile(file, JSON.stringify({ ...owner, started: 'long ago' }))
}
