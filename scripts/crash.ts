/**
 * Kills real training processes (SIGKILL), resumes each, and compares the adapter with that of a run nobody touched:
 * the tiny job of the tests at every change of the disk, the bundled job at random moments.
 * npx tsx scripts/crash.ts [--kills 10] [--seed 1] [--calls-only] [--from CHANGE] [--moments-only] [--backend cuda] [--folder DIR]
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { random } from '../src/data/random.ts'
import { crashAtCalls } from './crash-calls.ts'

const { values: args } = parseArgs({
  options: {
    kills: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    'calls-only': { type: 'boolean', default: false },
    from: { type: 'string', default: '1' },
    'moments-only': { type: 'boolean', default: false },
    backend: { type: 'string', default: 'auto' },
    folder: { type: 'string', default: os.tmpdir() },
  },
})
if (!args['moments-only']) {
  const atCalls = await crashAtCalls(Number(args.from), (line) => console.log(line))
  console.log(`${atCalls.kills} kills at calls, ${atCalls.failed} failed`)
  if (atCalls.failed > 0 || args['calls-only']) process.exit(atCalls.failed > 0 ? 1 : 0)
}

const root = path.join(import.meta.dirname, '..')
const job = path.join(root, 'examples', 'code-instructions')
fs.mkdirSync(args.folder, { recursive: true })
const temp = fs.mkdtempSync(path.join(args.folder, 'tunec-crash-'))
const config = path.join(temp, 'job.yaml')

/** The bundled job with dropout, a shorter run and a checkpoint every two optimizer steps. */
fs.writeFileSync(
  config,
  fs
    .readFileSync(path.join(job, 'qlora.yaml'), 'utf8')
    .replace('base_model: base ', `base_model: ${path.join(job, 'base')} `)
    .replace('dataset: data.csv ', `dataset: ${path.join(job, 'data.csv')} `)
    .replace('dropout: 0 ', 'dropout: 0.05 ')
    .replace('epochs: 30 ', 'steps_per_checkpoint: 8\n  epochs: 6 '),
)

interface Ended {
  readonly killed: boolean
  readonly code: number | null
  readonly text: string
}

const train = (output: string, resume: boolean, after: number | null): Promise<Ended> =>
  new Promise((done) => {
    const argv = ['--import', 'tsx', path.join(root, 'src', 'cli', 'main.ts'), 'train', config]
    argv.push('--backend', args.backend)
    const where = resume
      ? ['--resume', path.join(output, 'experiment_run')]
      : ['--output-directory', output]
    const child = spawn(process.execPath, [...argv, ...where], { cwd: root })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => (text += String(d)))
    const timer = after === null ? undefined : setTimeout(() => child.kill('SIGKILL'), after)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      done({ killed: signal === 'SIGKILL', code, text })
    })
  })

const adapter = (output: string): string => {
  const file = path.join(
    output,
    'experiment_run',
    'model',
    'model_weights',
    'adapter_model.safetensors',
  )
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex')
}

const begun = performance.now()
const untouched = await train(path.join(temp, 'whole'), false, null)
if (untouched.code !== 0) throw new Error(untouched.text)
const whole = performance.now() - begun
const expected = adapter(path.join(temp, 'whole'))
console.log(`untouched: ${(whole / 1000).toFixed(1)} s, adapter ${expected.slice(0, 16)}`)

const draw = random(Number(args.seed))
const wanted = Number(args.kills)
let kills = 0
let different = 0
for (let run = 1; kills < wanted; run++) {
  const output = path.join(temp, `killed-${run}`)
  let ended: Ended = { killed: true, code: null, text: '' }
  while (ended.killed) {
    // A run killed before it wrote a checkpoint starts anew, as a person would.
    const resume = fs.existsSync(
      path.join(output, 'experiment_run', 'model', 'training_checkpoints'),
    )
    if (!resume) fs.rmSync(output, { recursive: true, force: true })
    const after = kills < wanted ? 300 + draw.below(Math.round(whole / 2)) : null
    ended = await train(output, resume, after)
    if (ended.killed)
      console.log(`kill ${++kills}: after ${Math.round(after!)} ms${resume ? ', resumed' : ''}`)
  }
  const same = ended.code === 0 && adapter(output) === expected
  if (!same) console.log(ended.text)
  different += same ? 0 : 1
  console.log(`run ${run} ended: adapter ${same ? 'byte-identical' : 'DIFFERENT'}`)
}
fs.rmSync(temp, { recursive: true, force: true })
console.log(`${kills} kills; ${different === 0 ? 1 : 0} passed, ${different} failed`)
process.exit(different === 0 ? 0 : 1)
