/**
 * Kills a training process at every call of the file system that changes something, from its first folder to the end of
 * the export, resumes it, and compares: adapter, merged model, nothing left behind.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import path from 'node:path'
import { reference } from '../backends/reference/index.ts'
import { currentFolder } from '../src/tensors/atomic.ts'
import { verifySums } from '../src/tensors/sums.ts'
import { train } from '../src/train/train.ts'
import { crashJob } from '../test/resume-job.ts'
import { right } from '../test/right.ts'
import { hidden } from '../test/saves.ts'
import { planFor, quiet, withBase } from '../test/train-job.ts'

const child = (folder: string, n: number, moment: 'before' | 'half'): Promise<string | null> =>
  new Promise((resolve, reject) => {
    const file = path.join(import.meta.dirname, 'crash-child.ts')
    const p = spawn(process.execPath, ['--import', 'tsx', file, folder, String(n), moment])
    const [out, err]: [string[], string[]] = [[], []]
    p.stdout.on('data', (d) => out.push(String(d)))
    p.stderr.on('data', (d) => err.push(String(d)))
    p.on('close', (code, signal) =>
      signal === 'SIGKILL'
        ? resolve(null)
        : code === 0
          ? resolve(out.join(''))
          : reject(new Error(err.join(''))),
    )
  })

const resultsOf = (folder: string): string => path.join(folder, 'results', 'experiment_run')
const exists = (at: string): Promise<boolean> =>
  fs.stat(at).then(
    () => true,
    () => false,
  )

/** All that a run is for: its adapter and its merged model. */
const outcome = (folder: string): Promise<ReadonlyArray<Buffer>> =>
  Promise.all(
    ['model_weights/adapter_model.safetensors', 'merged_model/model.safetensors'].map((file) =>
      fs.readFile(path.join(resultsOf(folder), 'model', file)),
    ),
  )

/** Ends the run that was killed: resumed, or anew where it had not begun, as a person would. */
const end = async (folder: string): Promise<void> => {
  const results = resultsOf(folder)
  const begun = await exists(path.join(results, 'description.json'))
  if (!begun) await fs.rm(path.join(folder, 'results'), { recursive: true, force: true })
  const { options } = quiet(folder, begun ? { resume: results } : {})
  right(await train(planFor(folder, crashJob), reference, options)())
}

const killedAt = (
  n: number,
  moment: 'before' | 'half',
  expected: ReadonlyArray<Buffer>,
): Promise<void> =>
  withBase(async (folder) => {
    assert.equal(await child(folder, n, moment), null, 'the process was to be killed')
    for (const written of ['model_weights', 'merged_model']) {
      const found = await currentFolder(path.join(resultsOf(folder), 'model', written))()
      if (found._tag === 'Right') right(await verifySums(found.right)())
    }
    await end(folder)
    assert.deepEqual(await outcome(folder), expected)
    assert.deepEqual(await hidden(resultsOf(folder)), [])
  })

interface Death {
  readonly n: number
  readonly moment: 'before' | 'half'
}

/** Two processes at a time, from a change on, counted from 1. Gives the number of kills after which something was not as it should be. */
export const crashAtCalls = async (
  from: number,
  say: (line: string) => void,
): Promise<{ readonly kills: number; readonly failed: number }> => {
  const { halves, expected } = await withBase(async (folder) => ({
    halves: JSON.parse((await child(folder, 0, 'before'))!) as ReadonlyArray<boolean>,
    expected: await outcome(folder),
  }))
  const all = halves.flatMap((half, i): ReadonlyArray<Death> => [
    { n: i + 1, moment: 'before' },
    ...(half ? [{ n: i + 1, moment: 'half' as const }] : []),
  ])
  const deaths = all.filter((d) => d.n >= from)
  const kills = deaths.length
  say(
    `${halves.length} changes of the disk in a run of three checkpoints and an export; ${kills} ways to die`,
  )
  let failed = 0
  const worker = async (): Promise<void> => {
    for (let next = deaths.shift(); next !== undefined; next = deaths.shift()) {
      const { n, moment } = next
      await killedAt(n, moment, expected).catch((e: unknown) => {
        failed += 1
        say(`change ${n}, ${moment}: ${e instanceof Error ? e.message : String(e)}`)
      })
      if (deaths.length % 50 === 0) say(`${kills - deaths.length} kills, ${failed} failed`)
    }
  }
  await Promise.all([worker(), worker()])
  return { kills, failed }
}
