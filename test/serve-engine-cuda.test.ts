/** The engine over the launch lists of a GPU, emulated: a sequence that joins leaves the others' caches alone there too. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import type { Grid } from '../src/generate/index.ts'
import { openEngine } from '../src/serve/engine.ts'
import { unadjusted, type Work } from '../src/serve/work.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { tinySession } from './generate-model.ts'
import type { Backend } from '../backends/backend.ts'
import { right } from './right.ts'

const grid: Grid = { batch: 2, prompt: 6, capacity: 10, shorter: [2] }

/** A long sequence, and two that join it while it runs. */
const idsOn = async (backend: Backend): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
  const engine = openEngine(await tinySession(backend, grid, 7), grid, 8)
  const all: Array<Array<number>> = []
  const begin = (prompt: ReadonlyArray<number>, limit: number): Promise<void> =>
    new Promise((resolve) => {
      const ids: Array<number> = []
      all.push(ids)
      const work: Work = {
        prompt,
        limit,
        sequence: 0,
        sampling: { temperature: 0, topK: 0, topP: 1, seed: 1 },
        adjust: unadjusted,
        minNew: 0,
        eosIds: [],
        wantsScores: false,
        take: (id) => {
          ids.push(id)
          // The others come once this one has begun.
          if (all.length === 1 && ids.length === 2) joined = [begin([6], 3), begin([9, 8], 2)]
          return false
        },
        end: () => resolve(),
      }
      right(engine.submit([work]))
    })
  let joined: ReadonlyArray<Promise<void>> = []
  await begin([3, 4, 5], 6)
  await Promise.all(joined)
  await engine.close()
  return all
}

test('sequences join and leave on a GPU as on the definition', { skip: noCompiler }, async () => {
  const [gpu, definition] = [await idsOn(emulated(cardOf('sm_90')!.target)), await idsOn(reference)]
  assert.deepEqual(gpu, definition)
  assert.deepEqual(definition.map((ids) => ids.length), [6, 3, 2])
}) // prettier-ignore
