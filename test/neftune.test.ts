/** NEFTune: noise of the paper's reach on embeddings, in training alone, however a batch is packed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { fnOf } from '../ir/graph.ts'
import { tensor } from '../ir/type.ts'
import { differentiate, neftune } from '../passes/index.ts'
import { packBatch } from '../src/data/pack.ts'
import { train } from '../src/train/train.ts'
import { fc, holds, runs } from './fc.ts'
import { agree, close, run, sameBits, through, worldOf, type World } from './laws.ts'
import { apply, t } from './op-cases.ts'
import { forward, plainSpec } from './programs.ts'
import { right } from './right.ts'
import { planFor, quiet, samplesOf, weightsOf, withBase, yaml } from './train-job.ts'

test('noise: uniform within its reach, the same for the same key, other for another', () => {
  const [rows, columns] = [40, 500]
  const zeros = t(tensor('f32', rows, columns), new Float64Array(rows * columns))
  const keys = Array.from({ length: rows }, (_, i) => i - 9)
  const reach = keys.map((_, i) => (i % 2 === 0 ? 0.5 : 2))
  const draw = (seed: number, by = keys): Float64Array =>
    apply(
      'noise',
      { salt: -1 },
      zeros,
      t(tensor('i32'), [seed]),
      t(tensor('i32', rows), by),
      t(tensor('f32', rows), reach),
    )[0]!.data as Float64Array
  const x = draw(3)
  const scaled = x.map((v, i) => v / reach[Math.floor(i / columns)]!)
  holds(scaled.every((u) => u >= -1 && u < 1))
  // Mean 0 and variance 1/3 of 20,000 draws, to five of their deviations.
  const mean = scaled.reduce((a, b) => a + b, 0) / scaled.length
  const variance = scaled.reduce((a, b) => a + b * b, 0) / scaled.length
  holds(Math.abs(mean) < 5 * Math.sqrt(1 / 3 / scaled.length), `mean ${mean}`)
  holds(Math.abs(variance - 1 / 3) < 5 * Math.sqrt(4 / 45 / scaled.length), `variance ${variance}`)
  assert.deepEqual(draw(3), x)
  for (const other of [
    draw(4),
    draw(
      3,
      keys.map((k) => k + 100),
    ),
  ])
    holds(other.filter((v, i) => v === x[i]).length < 5)
})

test('evaluation and answers see no noise; alpha 0 would add none', () => {
  const p = forward(plainSpec, 1)
  const noisy = through(neftune(5))(p)
  const w = worldOf(4)
  for (const f of p.fns.filter((g) => g.minimizes === undefined))
    holds(agree(sameBits, run(p, w, f.name).outs, run(noisy, w, f.name).outs), f.name)
  const loss = (q: typeof p) => run(q, { ...w, input: lengthy(w) }).outs['loss']![0]!
  assert.notEqual(loss(p), loss(noisy))
  assert.equal(loss(p), loss(through(neftune(0))(p)))
})

/** Samples of four tokens, which makes the reach alpha / √(4·width). */
const lengthy =
  (w: World): World['input'] =>
  (i) =>
    i.name === 'lengths' ? new Float64Array(i.type.shape[0]!).fill(4) : w.input(i)

test('the reach is alpha / √(tokens of the sample · width), whatever shares its row', () => {
  const p = through(neftune(7))(forward(plainSpec, 1))
  const f = fnOf(p, 'step')!
  const noise = f.eqns.find((e) => e.op === 'noise')!
  const power = f.eqns.find((e) => e.op === 'power')!
  const scale = f.eqns.find((e) => e.outs[0] === noise.args[3])!
  assert.equal(power.attrs['exponent'], -0.5)
  assert.equal(scale.attrs['by'], 7 / Math.sqrt(plainSpec.hidden))
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }), (ns) => {
      const samples = ns.map((n, row) => ({ row, prompt: Array<number>(n).fill(1), target: [2] }))
      const [together, apart] = [10, 40].map((length) =>
        right(packBatch(samples, { rows: 1, length })),
      )
      const pairs = (batches: typeof together) =>
        batches!
          .flatMap((b) => [...b.keys].map((k, i) => [k, b.lengths[i]!, b.segments[i]!] as const))
          .filter(([, , segment]) => segment > 0)
          .map(([k, n]) => `${k} ${n}`)
          .toSorted()
      assert.deepEqual(pairs(together), pairs(apart))
      assert.deepEqual(
        [...new Set(pairs(together).map((x) => Number(x.split(' ')[1])))].toSorted((a, b) => a - b),
        [...new Set(ns.map((n) => n + 1))].toSorted((a, b) => a - b),
      )
    }),
    runs(30),
  )
})

test('gradients flow through it as if it were not there', () => {
  const p = forward(plainSpec, 1)
  const [plain, noisy] = [p, through(neftune(1e-7))(p)].map((q) =>
    run(through(differentiate)(q), { ...worldOf(5), input: lengthy(worldOf(5)) }, 'step', 'real'),
  )
  holds(agree(close(1e-4, 1e-6), plain!.outs, noisy!.outs))
})

test('a run with it trains, resumes to the same bytes, and has another adapter than one without', async () => {
  await withBase(async (folder) => {
    const text = yaml('').replace(
      'adapter:',
      'model_parameters: { neftune_noise_alpha: 5 }\nadapter:',
    )
    const samples = { train: samplesOf(6), validation: samplesOf(2, 6), test: samplesOf(2, 8) }
    const weights = async (yamlText: string, stopAt = Infinity): Promise<Buffer> => {
      const { options } = quiet(folder)
      let steps = 0
      const stop = (): boolean => ++steps >= stopAt
      const first = right(
        await train(planFor(folder, yamlText, samples), reference, { ...options, stop })(),
      )
      const done = first.stopped
        ? right(
            await train(
              planFor(folder, yamlText, samples),
              reference,
              quiet(folder, { resume: first.resultsFolder }).options,
            )(),
          )
        : first
      return weightsOf(done.adapterFolder!)
    }
    const whole = await weights(text)
    assert.deepEqual(await weights(text, 3), whole)
    assert.notDeepEqual(await weights(yaml('')), whole)
  })
})
