/** Losses, references, rewards and every gradient of preference training, against TRL's own code in float64 (`fixtures/preference/golden.py`). */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Session } from '../backends/backend.ts'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import {
  accumulate,
  differentiate,
  lora,
  optimizer,
  prefer,
  schedule,
  simplify,
  type Prefer,
} from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import type { Sample } from '../src/data/samples.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import type { Preference } from '../src/preference/preference.ts'
import { noReferences, type References } from '../src/preference/references.ts'
import { sumsOf, withOther } from '../src/preference/sums.ts'
import { preferenceTask } from '../src/preference/task.ts'
import { holds } from './fc.ts'
import { load, open, relativeError, type Golden } from './golden.ts'
import { adamw } from './programs.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'

interface Figures {
  readonly beta: number
  readonly pairs: ReadonlyArray<
    readonly [ReadonlyArray<number>, ReadonlyArray<number>, ReadonlyArray<number>]
  >
  readonly labels: ReadonlyArray<boolean>
  /** Of all chosen, then of all rejected. */
  readonly reference_nlls: ReadonlyArray<number>
  readonly losses: Readonly<Record<string, number>>
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>>
}

const folder = path.join(import.meta.dirname, 'fixtures', 'preference')
const figures = JSON.parse(fs.readFileSync(path.join(folder, 'golden.json'), 'utf8')) as Figures
const gradients = tensorsOf(path.join(folder, 'golden.safetensors'))
const g = load('llama3-tiny')
const { beta } = figures

const pairs: ReadonlyArray<Sample> = figures.pairs.map(([prompt, target, rejected], row) => ({
  row,
  prompt,
  target,
  rejected,
}))
const answers: ReadonlyArray<Sample> = figures.pairs.map(([prompt, good, bad], row) => {
  const answerOf = (i: number) => figures.pairs.at(i)![figures.labels.at(i)! ? 1 : 2]
  const desirable = figures.labels[row]!
  return { row, prompt, target: desirable ? good : bad, desirable, other: answerOf(row - 1) }
})

/** Pairs side by side in a row, and micro-steps of one and of two rows. */
const grids = [
  { rows: 1, length: 30 },
  { rows: 2, length: 60 },
]

const programOf = (loss: Prefer, grid: (typeof grids)[number], of: Golden): Program => {
  const config = path.join(import.meta.dirname, 'fixtures', 'golden', of.name, 'base/config.json')
  const spec = right(readSpec(JSON.parse(fs.readFileSync(config, 'utf8'))))
  const { r, alpha, targets } = of.settings
  return right(
    compile([
      prefer(loss),
      lora({ r, alpha, dropout: 0, targets }),
      differentiate,
      optimizer(adamw),
      simplify,
      accumulate,
      schedule,
    ])(right(model(of.name, spec, { ...grid, generate: null }))),
  ).program
}

const close = (what: string, a: ArrayLike<number>, b: ArrayLike<number>, bound: number): void =>
  holds(relativeError(a, b) < bound, `${what}: ${relativeError(a, b)}`)

/** With B at zero the adapter adds nothing. */
const adapterOff = (key: string): ArrayLike<number> | undefined => {
  const stored = g.adapter.get(key)
  return stored !== undefined && key.includes('lora_B') ? new Float32Array(stored.length) : stored
}

const referencesBy = async (session: Session, all: ReadonlyArray<Sample>): Promise<References> => {
  const own = right(await sumsOf(session, grids[0]!, all)())
  const others = right(await sumsOf(session, grids[0]!, withOther(all))())
  return (s) => {
    const [nlls, other] = [own[s.row]!.nlls, others[s.row]?.nlls[0]]
    return other === undefined ? { nlls } : { nlls, other }
  }
}

const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}
const known = once(async () => {
  const session = await open(onnx, g, programOf({ _tag: 'orpo', beta }, grids[0]!, g), adapterOff)
  const found = {
    pairs: await referencesBy(session, pairs),
    answers: await referencesBy(session, answers),
  }
  right(await session.close()())
  return found
})

test('references are log-probabilities by the base with the adapter off', async () => {
  const { pairs: by } = await known()
  const n = pairs.length
  pairs.forEach((s, i) =>
    close(
      `pair ${i}`,
      by(s).nlls,
      [figures.reference_nlls[i]!, figures.reference_nlls[n + i]!],
      1e-5,
    ),
  )
})

const dpo = (
  link: Extract<Prefer, { readonly _tag: 'dpo' }>['link'],
  smoothing = 0,
): Preference => ({
  loss: { _tag: 'dpo', link, beta, smoothing },
  desirable: 1,
  undesirable: 1,
})
const cases: Readonly<Record<string, Preference>> = {
  sigmoid: dpo('sigmoid'),
  sigmoid_smoothed: dpo('sigmoid', 0.2),
  robust: dpo('robust', 0.2),
  hinge: dpo('hinge'),
  ipo: dpo('ipo'),
  sigmoid_norm: dpo('sigmoid_norm'),
  kto: { loss: { _tag: 'kto', beta }, desirable: 1.5, undesirable: 0.5 },
  orpo: { loss: { _tag: 'orpo', beta }, desirable: 1, undesirable: 1 },
}

/** TRL's names; one that only pairs have is absent elsewhere. */
const names = [
  ['reward_chosen', 'rewards/chosen'],
  ['reward_rejected', 'rewards/rejected'],
  ['reward_margin', 'rewards/margins'],
  ['reward_accuracy', 'rewards/accuracies'],
  ['kl', 'kl'],
] as const

for (const [name, p] of Object.entries(cases))
  test(`${name}: loss, rewards and gradients are TRL's, however the batch is cut`, async () => {
    const all = name === 'kto' ? answers : pairs
    const found = await known()
    const references = name === 'orpo' ? noReferences : name === 'kto' ? found.answers : found.pairs
    for (const [i, grid] of grids.entries()) {
      const program = programOf(p.loss, grid, g)
      // The definition once, for a case of each kind: it is slow.
      const exact = i === 1 && ['sigmoid', 'kto', 'orpo'].includes(name)
      const session = await open(exact ? reference : onnx, g, program)
      const task = preferenceTask(p, grid, session, references)
      const measured = right(await task.measure(session, all)())
      holds('metrics' in measured)
      const fed = right(await task.feed(all)())
      const outs = []
      for (const { inputs } of fed.micros) outs.push(right(await session.run('micro', inputs)()))
      const loss = outs.reduce((n, o) => n + o['loss']![0]!, 0)
      const want = figures.losses[name]!
      close(`${name} loss`, [loss], [want], 1e-4)
      close(`${name} measured loss`, [measured.metrics.loss], [want], 1e-4)
      for (const [ours, theirs] of names) {
        const value = figures.metrics[name]?.[theirs]
        if (value !== undefined)
          assert.ok(Math.abs(measured.metrics[ours]! - value) < 1e-3, `${name} ${ours}`)
        if (value !== undefined && ours !== 'kl')
          assert.ok(Math.abs(fed.metrics!(outs)[ours]! - value) < 1e-3, `${name} trained ${ours}`)
      }
      for (const s of program.state.filter((x) => x.role === 'gradient')) {
        const bytes = right(await session.read(s.name)())
        const key = `${name}.base_model.model.${s.name.slice('grad.'.length)}`
        const golden =
          gradients.get(key) ?? gradients.get(key.replace('.weight', '.default.weight'))
        close(key, new Float32Array(bytes.slice().buffer), golden!, 1e-3)
      }
      right(await session.close()())
    }
  })
