/**
 * Damages YAML, config.json, tokenizers, safetensors, plans and checkpoints, and expects of each a refusal or the same
 * meaning: no exception, no hang, no silent change. Each kind runs in a process of its own, which a hang ends.
 * npx tsx scripts/fuzz.ts [--inputs 20000] [--seed 1] [--kind yaml] [--from 0]
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Kind } from './fuzz-kinds.ts'
import { fuzz } from './fuzz-run.ts'

const { values: args } = parseArgs({
  options: {
    inputs: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    kind: { type: 'string' },
    child: { type: 'boolean', default: false },
  },
})

/** Of a hundred inputs; plans are compiled and checkpoints trained on, so there are few of them. */
const shares: Readonly<Record<Kind, number>> = {
  ...{ yaml: 30, config: 26, tokenizer: 20, safetensors: 21 },
  ...{ plan: 2, checkpoint: 1 },
}
/** Milliseconds that no input needs. */
const HANG = 60_000

const [seed, from] = [Number(args.seed), Number(args.from)]

const watched = (kind: Kind, count: number): Promise<boolean> =>
  new Promise((done) => {
    const options = ['--child', '--kind', kind, '--seed', args.seed, '--from', args.from]
    const child = fork(fileURLToPath(import.meta.url), [...options, '--inputs', String(count)])
    let at = 'the start'
    const dead = (): void => {
      console.log(`${kind} ${at} of seed ${seed} hangs`)
      child.kill('SIGKILL')
    }
    let timer = setTimeout(dead, HANG)
    child.on('message', (said) => {
      at = String(said)
      clearTimeout(timer)
      timer = setTimeout(dead, HANG)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (signal !== null) console.log(`${kind} ${at} of seed ${seed} ended by ${signal}`)
      done(code === 0)
    })
  })

if (args.child) {
  const kind = args.kind as Kind
  const send = (n: number): void => void process.send?.(n)
  const counts = await fuzz(kind, seed, from, Number(args.inputs), send)
  console.log(`${kind}: ${counts.refused} refused, ${counts.accepted} accepted and the same`)
  process.disconnect()
} else {
  const wanted = Object.entries(shares).filter(([k]) => args.kind === undefined || k === args.kind)
  let good = wanted.length > 0
  for (const [kind, share] of wanted) {
    const all = Number(args.inputs)
    const count = args.kind === undefined ? Math.ceil((all * share) / 100) : all
    good = (await watched(kind as Kind, count)) && good
  }
  process.exitCode = good ? 0 : 1
}
