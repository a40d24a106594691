/** Laws of preference losses: how a batch is cut changes nothing, and what is measured is what is minimized. */
import { test } from 'node:test'
import type { Feeds } from '../backends/backend.ts'
import { differentiate, lora, prefer, simplify, type Prefer } from '../passes/index.ts'
import { packBatch, unscored, type Grid, type MicroBatch } from '../src/data/pack.ts'
import type { Sample } from '../src/data/samples.ts'
import { model } from '../src/models/llama.ts'
import { feedsOf } from '../src/preference/feeds.ts'
import type { Preference } from '../src/preference/preference.ts'
import { lossOf, marginOf } from '../src/preference/score.ts'
import { nothing, rewardMetrics, tallied } from '../src/preference/tally.ts'
import { fc, holds, runs } from './fc.ts'
import { agree, close, run, through, type Named, type World } from './laws.ts'
import { plainSpec, targets, worldOn } from './programs.ts'
import { right } from './right.ts'

const ids = (max: number) => fc.array(fc.nat(plainSpec.vocab - 1), { minLength: 1, maxLength: max })

const losses: fc.Arbitrary<Prefer> = fc.oneof(
  fc.record({
    _tag: fc.constant('dpo' as const),
    link: fc.constantFrom('sigmoid', 'robust', 'hinge', 'ipo', 'sigmoid_norm'),
    beta: fc.constantFrom(0.1, 1.5),
    smoothing: fc.constantFrom(0, 0.25),
  }),
  fc.record({ _tag: fc.constant('kto' as const), beta: fc.constantFrom(0.1, 1.5) }),
  fc.record({ _tag: fc.constant('orpo' as const), beta: fc.constantFrom(0.1, 1.5) }),
)

type Text = readonly [number[], number[], number[], boolean]
const texts: fc.Arbitrary<ReadonlyArray<Text>> = fc.array(
  fc.tuple(ids(2), ids(3), ids(3), fc.boolean()),
  {
    minLength: 1,
    maxLength: 5,
  },
)

const samplesOf = (o: Prefer, all: ReadonlyArray<Text>): ReadonlyArray<Sample> =>
  all.map(([prompt, target, rejected, desirable], row) => ({
    row,
    prompt,
    target,
    ...(o._tag === 'kto' ? { desirable } : { rejected }),
  }))

const referenceOf = ({ row }: Sample): ReadonlyArray<number> => [2 + row / 3, 3 - row / 5]

/** The step on one micro-batch, in real arithmetic; weights depend on the seed alone. */
const onBatch = (p: Preference, grid: Grid, feeds: Feeds, keys: Int32Array): Named => {
  const program = through(
    prefer(p.loss),
    lora({ r: 2, alpha: 3, dropout: 0.4, targets }),
    differentiate,
    simplify,
  )(right(model('tiny', plainSpec, { rows: grid.rows, length: grid.length, generate: null })))
  const base = worldOn(5, [], 1)
  const world: World = {
    ...base,
    input: (i) => {
      const given = i.name === 'keys' ? keys : feeds[i.name]
      return given === undefined ? base.input(i) : Float64Array.from(given)
    },
  }
  return run(program, world, 'step', 'real').outs
}

interface Step {
  readonly loss: number
  readonly gradients: Named
  /** Of each sample. */
  readonly nlls: ReadonlyArray<ReadonlyArray<number>>
}

const KL = 0.3

/** All micro-steps of a grid, added up. */
const stepOn = (p: Preference, all: ReadonlyArray<Sample>, grid: Grid): Step => {
  const whole = {
    samples: all.length,
    tokens: all.reduce((n, s) => n + s.prompt.length + s.target.length - 1, 0),
    kl: p.loss._tag === 'kto' ? KL : 0,
  }
  const batches = right(
    packBatch(all, { ...grid, ...(p.loss._tag === 'orpo' ? { prompts: true } : {}) }),
  )
  const sums = new Map<string, Float64Array>()
  const nlls: Array<ReadonlyArray<number>> = []
  let loss = 0
  for (const b of batches) {
    const outs = onBatch(p, grid, feedsOf(p, b, all, referenceOf, whole), b.keys)
    loss += outs['loss']![0]!
    const each = p.loss._tag === 'kto' ? 1 : 2
    b.samples.forEach((index, n) => {
      nlls[index] = [...outs['sequence_nll']!.slice(n * each, (n + 1) * each)]
    })
    for (const [name, g] of Object.entries(outs))
      if (name.startsWith('grad.'))
        sums.set(
          name,
          (sums.get(name) ?? new Float64Array(g.length)).map((x, i) => x + g[i]!),
        )
  }
  return { loss, gradients: Object.fromEntries(sums), nlls }
}

const preferences = losses.map((loss): Preference => {
  const labelled = loss._tag === 'kto'
  return { loss, desirable: labelled ? 1.5 : 1, undesirable: labelled ? 0.5 : 1 }
})

test('loss and gradients do not depend on packing or on micro-batches, dropout and all', () => {
  fc.assert(
    fc.property(preferences, texts, fc.constantFrom(1, 2), (p, all, rows) => {
      const samples = samplesOf(p.loss, all)
      const apart = stepOn(p, samples, { rows: 1, length: 10 })
      const together = stepOn(p, samples, { rows, length: 26 })
      // Coefficients arrive as f32.
      holds(close(1e-6)(Float64Array.of(apart.loss), Float64Array.of(together.loss)))
      holds(agree(close(1e-6), apart.gradients, together.gradients))
    }),
    runs(12),
  )
})

test('what an evaluation says of sequences is what the program minimizes', () => {
  fc.assert(
    fc.property(preferences, texts, (p, all) => {
      const samples = samplesOf(p.loss, all)
      const { loss, nlls } = stepOn(p, samples, { rows: 2, length: 12 })
      const kl = p.loss._tag === 'kto' ? KL : 0
      const tally = samples.reduce(
        (t, s, i) => tallied(t, p, s, nlls[i]!, referenceOf(s), kl),
        nothing,
      )
      // Orpo adds the likelihood of good answers, which no sum of sequences holds.
      if (p.loss._tag !== 'orpo')
        holds(close(1e-5)(Float64Array.of(tally.loss / samples.length), Float64Array.of(loss)))
      else holds(tally.loss / samples.length < loss)
      const { reward_accuracy: share } = rewardMetrics(tally)
      holds(share! >= 0 && share! <= 1)
    }),
    runs(10),
  )
})

test('a loss falls as the margin grows, and is least where its link says', () => {
  fc.assert(
    fc.property(losses, fc.double({ min: -20, max: 20, noNaN: true }), (o, margin) => {
      const [less, more] = [lossOf(o, margin), lossOf(o, margin + 0.5)]
      const rises =
        (o._tag === 'dpo' && o.link === 'ipo' && margin > 1 / (2 * o.beta) - 0.25) ||
        (o._tag === 'dpo' && o.smoothing > 0)
      holds(rises || more <= less, `${less} ${more}`)
    }),
    runs(100),
  )
})

test('with no difference from the reference the margin is nothing', () => {
  fc.assert(
    fc.property(preferences, texts, (p, all) => {
      for (const s of samplesOf(p.loss, all))
        if (p.loss._tag !== 'orpo') {
          const r = referenceOf(s)
          holds(Math.abs(marginOf(p.loss, s, r, r, 0)) < 1e-12)
        }
    }),
    runs(20),
  )
})

test('a pair lies in one row: its answers are segments of their own behind the same prompt, and no third sequence touches them', () => {
  fc.assert(
    fc.property(texts, (all) => {
      const samples = samplesOf({ _tag: 'orpo', beta: 1 }, all)
      const [batch, ...more] = right(packBatch(samples, { rows: 4, length: 40 })) as [MicroBatch]
      holds(more.length === 0)
      const places = (sequence: number) =>
        [...batch.sequences.keys()].filter((i) => batch.sequences[i] === sequence)
      batch.samples.forEach((index, n) => {
        const { target, rejected } = samples[index]!
        const [good, bad] = [places(2 * n), places(2 * n + 1)]
        holds(good.map((i) => batch.targets[i]).join() === target.join())
        holds(bad.map((i) => batch.targets[i]).join() === rejected!.join())
        holds(new Set([...good, ...bad].map((i) => Math.floor(i / 40))).size === 1)
        holds(batch.segments[good[0]!] !== batch.segments[bad[0]!])
      })
      holds(batch.targets.every((t, i) => (t === unscored) === batch.sequences[i]! < 0))
    }),
    runs(40),
  )
})
