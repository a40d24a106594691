// npx tsx examples/custom-pass.ts
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { dsl, type Pass } from '../src/index.ts'

/** Embeddings times √hidden (Vaswani et al. 2017), as Gemma has them and Llama has not. */
const scaledEmbeddings = (hidden: number): Pass => ({
  name: `scaledEmbeddings(hidden=${hidden})`,
  keeps: 'meaning',
  run: (p) =>
    dsl.passes.rewrite(p, p.state, ({ eqn, args: [table, tokens], b }) =>
      eqn.op === 'embed' ? [b.alg.scale(Math.sqrt(hidden), b.alg.embed(table!, tokens!))] : null,
    ),
  promise: (p) =>
    p.fns.every((f) => f.eqns.some((e) => e.attrs['by'] === Math.sqrt(hidden)))
      ? null
      : 'every function scales its embeddings',
})

const adapter = { r: 8, alpha: 16, dropout: 0, rslora: true, targets: ['q_proj', 'v_proj'] }
const shapes = { rows: 1, length: 2048, generate: null }

const result = pipe(
  dsl.base('meta-llama/Llama-2-7b-hf'),
  E.bindTo('base'),
  E.bindW('forward', ({ base: { name, spec } }) => dsl.model(name, spec, shapes)),
  E.chainW(({ base: { spec }, forward }) =>
    dsl.compose(dsl.passes.lora(adapter), scaledEmbeddings(spec.hidden))(forward),
  ),
)
if (E.isLeft(result)) throw new Error(JSON.stringify(result.left))
const { trace } = result.right
console.log(dsl.title(trace, 2))
console.log(dsl.diff(trace[1]!.program, trace[2]!.program))
