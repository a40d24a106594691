// npx tsx examples/compose.ts
import * as E from 'fp-ts/lib/Either.js'
import { flow, pipe } from 'fp-ts/lib/function.js'
import { dsl, type Program } from '../src/index.ts'

const { passes, run } = dsl
const adapter = { r: 8, alpha: 16, dropout: 0, targets: ['q_proj', 'k_proj', 'v_proj'] }
const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: 0.5 }
const shapes = { rows: 1, length: 2048, generate: null }

const lora = run(passes.lora(adapter))
const nf4 = run(passes.quantize({ block: 64, nested: 256 }))
const bf16 = run(passes.precision({ compute: 'bf16' }))

/** From a forward program to a training step. */
const step = flow(
  run(passes.differentiate),
  E.chain(run(passes.optimizer(adam))),
  E.chain(run(passes.simplify)),
  E.chain(run(passes.accumulate)),
)
const place = run(passes.schedule)
const train = flow(step, E.chain(place))
const checkpointed = flow(
  step,
  E.chain(run(passes.rematerialize({ _tag: 'layers' }))),
  E.chain(place),
)

const show = (name: string, p: Program): void => {
  const f = dsl.footprint(p)
  const gb = (n: number): string => `${(n / 1e9).toFixed(2)} GB`.padStart(13)
  console.log(`${name.padEnd(13)}${gb(f.weights)}${gb(f.activations)}${gb(f.total)}`)
}

const ladder = pipe(
  dsl.base('meta-llama/Llama-2-7b-hf'),
  E.chainW(({ name, spec }) => dsl.model(name, spec, shapes)),
  E.bindTo('forward'),
  E.bindW('lora', ({ forward }) => lora(forward)),
  E.bindW('nf4', (p) => nf4(p.lora)),
  E.bindW('bf16', (p) => bf16(p.nf4)),
  E.bindW('rungs', (p) =>
    pipe(
      [
        ['forward', train(p.forward)],
        ['lora', train(p.lora)],
        ['nf4', train(p.nf4)],
        ['bf16', train(p.bf16)],
        ['rematerialize', checkpointed(p.bf16)],
      ] as const,
      E.traverseArray(([name, made]) =>
        pipe(
          made,
          E.map((program) => ({ name, program })),
        ),
      ),
    ),
  ),
)
if (E.isLeft(ladder)) throw new Error(JSON.stringify(ladder.left))
const titles = ['weights', 'activations', 'arena'].map((t) => t.padStart(13))
console.log(`${' '.repeat(13)}${titles.join('')}`)
for (const { name, program } of ladder.right.rungs) show(name, program)
