/** Generation: a prompt and tokens one by one give the logits of the whole sequence at once. */
import { test } from 'node:test'
import type { Program } from '../ir/graph.ts'
import { lora, quantize } from '../passes/index.ts'
import { model } from '../src/models/llama.ts'
import { fc, holds, runs } from './fc.ts'
import { close, run, through, type Named, type World } from './laws.ts'
import { spec, targets, worldOn } from './programs.ts'
import { right } from './right.ts'

const [PROMPT, CAPACITY] = [7, 9]

/** Sequences side by side, of unequal lengths. */
const sequences = fc.array(fc.array(fc.nat(4), { minLength: 3, maxLength: PROMPT }), {
  minLength: 2,
  maxLength: 2,
})
type Sequences = ReadonlyArray<ReadonlyArray<number>>

/** Prompts padded on the right: padding has a segment of its own, and a place outside the cache. */
const promptWorld = (w: World, prompts: Sequences): World => {
  const grid = (at: (row: ReadonlyArray<number>, i: number) => number): ReadonlyArray<number> =>
    prompts.flatMap((row) => Array.from({ length: PROMPT }, (_, i) => at(row, i)))
  const inputs: Readonly<Record<string, ReadonlyArray<number>>> = {
    tokens: grid((row, i) => row[i] ?? 0),
    positions: grid((row, i) => (i < row.length ? i : CAPACITY)),
    segments: grid((row, i) => (i < row.length ? 1 : 0)),
    last: prompts.map((row, r) => r * PROMPT + row.length - 1),
  }
  return { ...w, input: (i) => Float64Array.from(inputs[i.name]!) }
}
const tokenWorld = (
  w: World,
  tokens: ReadonlyArray<number>,
  positions: ReadonlyArray<number>,
): World => ({
  ...w,
  input: (i) => Float64Array.from(i.name === 'tokens' ? tokens : positions),
})

/** The last `steps` tokens of each sequence one by one, after the rest as a prompt. */
const stepwise = (p: Program, w: World, all: Sequences, steps: number): Named => {
  const prompts = all.map((s) => s.slice(0, s.length - steps))
  const first = run(p, promptWorld(w, prompts), 'prefill', 'real')
  let [outs, carried] = [first.outs, first.updates]
  for (let k = 0; k < steps; k++) {
    const at = all.map((s) => s.length - steps + k)
    const now = tokenWorld(
      w,
      all.map((s, r) => s[at[r]!]!),
      at,
    )
    const next = run(p, now, 'decode', 'real', carried)
    ;[outs, carried] = [next.outs, next.updates]
  }
  return outs
}

test('tokens decoded one by one give the logits of the whole prompt, also through adapters and NF4', () => {
  const passes = [
    lora({ r: 2, alpha: 3, dropout: 0.5, targets }),
    quantize({ block: 4, nested: null }),
  ]
  fc.assert(
    fc.property(
      spec,
      sequences,
      fc.integer({ min: 1, max: 2 }),
      fc.boolean(),
      (s, all, steps, tuned) => {
        const generate = { batch: all.length, prompt: PROMPT, capacity: CAPACITY }
        const start = right(model('tiny', s, { rows: 1, length: 4, generate }))
        const p = tuned ? through(...passes)(start) : start
        const w = worldOn(5, [[]], 1)
        const whole = run(p, promptWorld(w, all), 'prefill', 'real').outs
        holds(close(1e-10)(whole['logits']!, stepwise(p, w, all, steps)['logits']!))
      },
    ),
    runs(30),
  )
})

test('a sequence does not depend on those beside it, nor on padding', () => {
  fc.assert(
    fc.property(spec, sequences, fc.nat(4), (s, all, token) => {
      const generate = { batch: all.length, prompt: PROMPT, capacity: CAPACITY }
      const p = right(model('tiny', s, { rows: 1, length: 4, generate }))
      const w = worldOn(5, [[]], 1)
      const logits = (rows: Sequences) =>
        run(p, promptWorld(w, rows), 'prefill', 'real').outs['logits']!.slice(0, s.vocab)
      holds(close(1e-12)(logits(all), logits([all[0]!, [token, token, token]])))
    }),
    runs(30),
  )
})
