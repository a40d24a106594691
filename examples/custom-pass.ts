// npx tsx examples/custom-pass.ts
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { dsl, type Pass } from '../src/index.ts'

/** Rank-stabilized LoRA (Kalajdzievski 2023): s·x with s = alpha / r becomes s = alpha / √r. */
const rslora = (r: number, alpha: number): Pass => ({
  name: `rslora(r=${r}, alpha=${alpha})`,
  keeps: 'meaning',
  run: (p) =>
    dsl.passes.rewrite(p, p.state, ({ fn, eqn, args, b }) => {
      if (eqn.op !== 'scale') return null
      const low = fn.eqns.find((e) => e.outs[0] === eqn.args[0])
      const weight = fn.reads.find((x) => x.id === low?.args[1])?.state ?? ''
      return weight.endsWith('.lora_A.weight')
        ? [b.alg.scale(alpha / Math.sqrt(r), args[0]!)]
        : null
    }),
  promise: (p) =>
    p.fns.some((f) => f.eqns.some((e) => e.attrs['by'] === alpha / Math.sqrt(r)))
      ? null
      : 'adapters are scaled by alpha / √r',
})

const adapter = { r: 8, alpha: 16, dropout: 0, targets: ['q_proj', 'v_proj'] }
const shapes = { rows: 1, length: 2048, generate: null }

const result = pipe(
  dsl.base('meta-llama/Llama-2-7b-hf'),
  E.chainW(({ name, spec }) => dsl.model(name, spec, shapes)),
  E.chainW(dsl.compose(dsl.passes.lora(adapter), rslora(adapter.r, adapter.alpha))),
)
if (E.isLeft(result)) throw new Error(JSON.stringify(result.left))
const { trace } = result.right
console.log(dsl.title(trace, 2))
console.log(dsl.diff(trace[1]!.program, trace[2]!.program))
