/**
 * Checks of the cuda backend on a GPU; with --emulated their small forms run anywhere. What they keep lies in --folder.
 *   npx tsx scripts/cuda-check.ts repeat   [--steps 50] [--computes float32,bfloat16,float16]
 *   npx tsx scripts/cuda-check.ts sessions [--count 100]
 *   npx tsx scripts/cuda-check.ts fits     [--from 0] [--count 200] [--seed 1] [--seconds 80]
 *   npx tsx scripts/cuda-check.ts peak     [--shapes llama2-7b,llama3-8b,bundled]
 *   npx tsx scripts/cuda-check.ts bundled  [--variants float32,bfloat16,float16,turing] [--epochs 30] [--backend cuda]
 *   npx tsx scripts/cuda-check.ts sanitize [--tools memcheck,racecheck,initcheck] [--suite conformance-cuda] [--pattern REGEX] [--seconds 80]
 * All take --folder DIR, the first four --arch compute_75 and --emulated.
 */
import { parseArgs } from 'node:util'
import { folderOf, standOf } from './cuda/stand.ts'
import { show, type Outcome } from './cuda/table.ts'

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string' },
    emulated: { type: 'boolean', default: false },
    arch: { type: 'string' },
    steps: { type: 'string', default: '50' },
    computes: { type: 'string', default: 'float32,bfloat16,float16' },
    from: { type: 'string', default: '0' },
    count: { type: 'string' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '80' },
    shapes: { type: 'string', default: 'llama2-7b,llama3-8b,bundled' },
    variants: { type: 'string', default: 'float32,bfloat16,float16,turing' },
    epochs: { type: 'string', default: '30' },
    backend: { type: 'string', default: 'cuda' },
    tools: { type: 'string', default: 'memcheck,racecheck,initcheck' },
    pattern: { type: 'string' },
    suite: { type: 'string', default: 'conformance-cuda' },
  },
})

const stand = () =>
  standOf({
    emulated: o.emulated,
    ...(o.folder === undefined ? {} : { folder: o.folder }),
    ...(o.arch === undefined ? {} : { arch: o.arch }),
  })
const count = (otherwise: number): number => Number(o.count ?? otherwise)

const checks: Readonly<Record<string, () => Promise<Outcome>>> = {
  repeat: async () =>
    (await import('./cuda/repeat.ts')).repeat(stand(), {
      steps: Number(o.steps),
      computes: o.computes.split(','),
    }),
  sessions: async () =>
    (await import('./cuda/sessions.ts')).sessions(stand(), { count: count(100) }),
  fits: async () =>
    (await import('./cuda/fits.ts')).fits(stand(), {
      from: Number(o.from),
      count: count(200),
      seed: Number(o.seed),
      seconds: Number(o.seconds),
    }),
  peak: async () => (await import('./cuda/peak.ts')).peak(stand(), { shapes: o.shapes.split(',') }),
  bundled: async () =>
    (await import('./cuda/bundled.ts')).bundled({
      folder: folderOf(o.folder),
      backend: o.backend,
      variants: o.variants.split(','),
      epochs: Number(o.epochs),
    }),
  sanitize: async () =>
    (await import('./cuda/sanitize.ts')).sanitize({
      folder: folderOf(o.folder),
      tools: o.tools.split(','),
      pattern: o.pattern,
      seconds: Number(o.seconds),
      suite: o.suite,
    }),
}

const name = positionals[0] ?? ''
const check = checks[name]
if (check === undefined) {
  console.log(`usage: cuda-check.ts ${Object.keys(checks).join('|')}`)
  process.exit(2)
}
const outcome = await check()
show(name, outcome)
process.exit(outcome.faults.length === 0 ? 0 : 1)
