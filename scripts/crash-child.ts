/**
 * The tiny job of the tests in a process that kills itself (SIGKILL) at its N-th call that changes something below
 * FOLDER's results, before it or half-way through it; with 0 it runs to its end and says which of the calls have a half:
 * crash-child.ts FOLDER N before|half
 */
import path from 'node:path'
import { reference } from '../backends/reference/index.ts'
import { train } from '../src/train/train.ts'
import { crashJob } from '../test/resume-job.ts'
import { right } from '../test/right.ts'
import { changing, gated } from '../test/safetensors-faults.ts'
import { planFor, quiet } from '../test/train-job.ts'

const [folder, n, moment] = process.argv.slice(2)
const results = path.join(folder!, 'results')

const halves: boolean[] = []
right(
  await gated(
    async (call, proceed) => {
      if (!changing.has(call.name) || !call.path.startsWith(results)) return proceed()
      if (halves.push(call.part !== undefined) !== Number(n)) return proceed()
      if (moment === 'half') await call.part?.()
      process.kill(process.pid, 'SIGKILL')
      return new Promise(() => {})
    },
    () => train(planFor(folder!, crashJob), reference, quiet(folder!).options)(),
  ),
)
process.stdout.write(JSON.stringify(halves))
