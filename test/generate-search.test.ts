/** Penalties, n-gram blocking, beams and stop strings: ids and ends that transformers gives on the golden models and tokenizers. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Session } from '../backends/backend.ts'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import { answer, type Answer, type Grid } from '../src/generate/index.ts'
import { generationPlan } from '../src/generate/plan.ts'
import type { Options } from '../src/generate/options.ts'
import { endsWithStop } from '../src/generate/stops.ts'
import { findBase } from '../src/models/base.ts'
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts'
import { initialize } from '../src/train/initialize.ts'
import { openBase } from '../src/train/state.ts'
import { fc, runs } from './fc.ts'
import { greedy, requests, tiny, tinySession, untouched } from './generate-model.ts'
import { right } from './right.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures')
const read = (name: string): unknown =>
  JSON.parse(fs.readFileSync(path.join(fixtures, 'generate', name), 'utf8'))

interface Case {
  readonly model: string
  readonly settings: {
    readonly num_beams?: number
    readonly length_penalty?: number
    readonly early_stopping?: boolean | 'never'
    readonly repetition_penalty?: number
    readonly no_repeat_ngram_size?: number
    readonly min_new_tokens?: number
  }
  readonly eos: ReadonlyArray<number>
  /** With the id that ended them. */
  readonly answers: ReadonlyArray<ReadonlyArray<number>>
}

const golden = read('answers.json') as {
  readonly prompts: ReadonlyArray<ReadonlyArray<number>>
  readonly max_new_tokens: number
  readonly cases: ReadonlyArray<Case>
}

const optionsOf = ({ settings: s, eos }: Case, vocab: number): Options => ({
  ...greedy({ eosIds: eos, vocab, maxNew: golden.max_new_tokens, minNew: s.min_new_tokens ?? 0 }),
  constraints: { repetition: s.repetition_penalty ?? 1, ngram: s.no_repeat_ngram_size ?? 0 },
  ...(s.num_beams === undefined
    ? {}
    : {
        beams: {
          width: s.num_beams,
          lengthPenalty: s.length_penalty ?? 1,
          early: s.early_stopping ?? false,
        },
      }),
})

const gridOf = (o: Options, prompts: number): Grid => ({
  batch: prompts * (o.beams?.width ?? 1),
  prompt: 9,
  capacity: 9 + golden.max_new_tokens,
  ...(o.beams === undefined ? {} : { beams: o.beams.width }),
})

const baseOf = (name: string) => right(findBase(path.join(fixtures, 'golden', name, 'base'), '.'))

const sessionOf = async (name: string, g: Grid, backend = reference): Promise<Session> => {
  const base = baseOf(name)
  const { program } = right(generationPlan(base, untouched, g))
  const session = right(await backend.prepare(program)())
  right(await initialize(session, program, right(await openBase(base, program)()), 42)())
  return session
}

/** A session for each shape, used by all cases that have it. */
const sessions = new Map<string, Promise<Session>>()
const shared = (name: string, g: Grid, backend = reference): Promise<Session> => {
  const key = JSON.stringify([name, g, backend.name])
  const made = sessions.get(key) ?? sessionOf(name, g, backend)
  sessions.set(key, made)
  return made
}

for (const c of golden.cases)
  test(`${c.model}: ${JSON.stringify(c.settings)}, ends at ${c.eos.join() || 'the limit'}`, async () => {
    const o = optionsOf(c, baseOf(c.model).spec.vocab)
    const g = gridOf(o, 2)
    const got = right(await answer(await shared(c.model, g), g, requests(golden.prompts), o)())
    assert.deepEqual(
      got.map((a) => a.ids),
      c.answers.map((ids) => (c.eos.includes(ids.at(-1)!) ? ids.slice(0, -1) : ids)),
    )
    assert.deepEqual(
      got.map((a) => a.stopped),
      c.answers.map((ids) => (c.eos.includes(ids.at(-1)!) ? 'eos' : 'length')),
    )
  })

test('the CPU engine moves caches with their beams', async () => {
  const c = golden.cases.find((x) => x.model === 'llama3-tiny' && x.settings.num_beams === 4)!
  const o = optionsOf(c, baseOf(c.model).spec.vocab)
  const g = gridOf(o, 2)
  const session = await shared(c.model, g, onnx)
  const got = right(await answer(session, g, requests(golden.prompts), o)())
  assert.deepEqual(
    got.map((a) => a.ids),
    c.answers,
  )
  right(await session.close()())
})

const asked = requests([
  [1, 2, 3],
  [4, 5],
  [6, 7, 8, 9],
])

const searched = async (
  o: Options,
  width: number,
  prompts: number,
): Promise<ReadonlyArray<Answer>> => {
  const g = { batch: width * prompts, prompt: 5, capacity: 10, beams: width }
  return right(await answer(await tinySession(reference, g, 5), g, asked, o)())
}

test('beams drawn at hardly any temperature are the best ones, and how they are batched changes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 4 }),
      fc.constantFrom(0.5, 1, 2),
      fc.constantFrom(true, false, 'never' as const),
      fc.nat(10),
      async (width, lengthPenalty, early, eos) => {
        const beams = { width, lengthPenalty, early }
        const o = greedy({ eosIds: [eos], beams, scored: true })
        const sampling = { temperature: 1e-5, topK: 0, topP: 1, seed: 3 }
        const best = await searched(o, width, 3)
        assert.deepEqual(await searched({ ...o, sampling }, width, 1), best)
        const drawn = { ...o, sampling: { ...sampling, temperature: 2, topK: 4, topP: 0.9 } }
        assert.deepEqual(await searched(drawn, width, 2), await searched(drawn, width, 1))
        for (const a of best) assert.equal(a.logProbs.length, a.ids.length)
      },
    ),
    runs(6),
  )
})

test('drawn beams differ from seed to seed', async () => {
  const texts = new Set<string>()
  for (let seed = 0; seed < 8; seed++) {
    const sampling = { temperature: 3, topK: 0, topP: 1, seed }
    const beams = { width: 2, lengthPenalty: 1, early: false }
    const got = await searched(greedy({ sampling, beams }), 2, 3)
    texts.add(got.map((a) => a.text).join('|'))
  }
  assert.ok(texts.size > 4)
})

test('no n-gram of an answer occurs twice in prompt and answer', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(tiny.vocab - 1), { minLength: 2, maxLength: 5 }),
      fc.integer({ min: 2, max: 3 }),
      async (prompt, n) => {
        const o = greedy({ constraints: { repetition: 1, ngram: n } })
        const g = { batch: 1, prompt: 5, capacity: 10 }
        const [a] = right(
          await answer(await tinySession(reference, g, 5), g, requests([prompt]), o)(),
        )
        const all = [...prompt, ...a!.ids]
        const grams = all.slice(n - 1).map((_, i) => all.slice(i, i + n).join())
        // Those of the prompt alone may repeat: nobody chose them.
        const own = grams.slice(Math.max(0, prompt.length - n + 1))
        own.forEach((gram) => assert.equal(grams.filter((x) => x === gram).length, 1))
      },
    ),
    runs(15),
  )
})

const stops = read('stops.json') as ReadonlyArray<{
  readonly tokenizer: string
  readonly sequences: ReadonlyArray<ReadonlyArray<number>>
  readonly cases: ReadonlyArray<{
    readonly stop_strings: ReadonlyArray<string>
    readonly hits: ReadonlyArray<number>
  }>
}>

for (const { tokenizer: kind, sequences, cases } of stops)
  test(`${kind}: a sequence ends with a stop string where transformers says so`, () => {
    const tokenizer = right(loadTokenizer(path.join(fixtures, 'tokenizer', kind)))
    for (const { stop_strings: strings, hits } of cases) {
      const decode = (ids: ReadonlyArray<number>) => tokenizer.decode(ids)
      const found = sequences.flatMap((ids, i) =>
        endsWithStop(ids, { stops: { strings, decode } }) ? [i] : [],
      )
      assert.deepEqual(found, hits, JSON.stringify(strings))
    }
  })

test('an answer ends with its stop string, and a longer one would have begun alike', async () => {
  const g = { batch: 3, prompt: 5, capacity: 10 }
  const session = await tinySession(reference, g, 7)
  const free = right(await answer(session, g, asked, greedy())())
  const decode = (ids: ReadonlyArray<number>) => ids.map((id) => `<${id}>`).join('')
  const strings = [`<${free[0]!.ids[2]}>`]
  const got = right(
    await answer(session, g, asked, greedy({ stops: { strings, decode }, decode }))(),
  )
  got.forEach((a, i) => {
    const at = free[i]!.ids.findIndex((id) => `<${id}>` === strings[0])
    assert.deepEqual(a.ids, at < 0 ? free[i]!.ids : free[i]!.ids.slice(0, at + 1))
    assert.equal(a.stopped, at < 0 ? 'length' : 'stop')
    // The text stops before it.
    assert.equal(a.text, decode(at < 0 ? a.ids : a.ids.slice(0, -1)))
  })
  assert.ok(got.some((a) => a.stopped === 'stop'))
})
