/** Answers on the reference backend: whatever the batches, as if every token were computed anew. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import {
  answer,
  compared,
  exactness,
  gridFor,
  type Answer,
  type Grid,
} from '../src/generate/index.ts'
import { generationPlan } from '../src/generate/plan.ts'
import { model } from '../src/models/llama.ts'
import { pipeline } from '../src/pipeline.ts'
import { compile } from '../passes/pass.ts'
import { show } from '../ir/type.ts'
import type { Options } from '../src/generate/options.ts'
import { openRow, promptRoom, stepGrid } from '../src/generate/rows.ts'
import { readSpec } from '../src/models/spec.ts'
import fs from 'node:fs'
import path from 'node:path'
import { fc, runs } from './fc.ts'
import { greedy, recomputed, requests, tiny, tinySession, untouched } from './generate-model.ts'
import { load, open } from './golden.ts'
import { parseConfig } from '../src/config/index.ts'
import { right } from './right.ts'

const grid = (batch: number, prompt = 5, capacity = 10): Grid => ({ batch, prompt, capacity })
const prompts = fc.array(fc.array(fc.nat(tiny.vocab - 1), { minLength: 1, maxLength: 5 }), {
  minLength: 1,
  maxLength: 5,
})
const answers = async (
  g: Grid,
  seed: number,
  asked: ReturnType<typeof requests>,
  o: Options,
): Promise<ReadonlyArray<Answer>> =>
  right(await answer(await tinySession(reference, g, seed), g, asked, o)())

test('answers are those of the whole sequence computed anew for each token', async () => {
  await fc.assert(
    fc.asyncProperty(prompts, fc.nat(50), fc.nat(10), async (ps, seed, eos) => {
      const o = greedy({ eosIds: [eos] })
      const got = await answers(grid(2), seed, requests(ps), o)
      const slow = grid(1, 10, 10)
      const session = await tinySession(reference, slow, seed)
      for (const [i, p] of ps.entries()) {
        assert.deepEqual(got[i]!.ids, await recomputed(session, slow, p, o.maxNew, [eos]))
        assert.equal(got[i]!.stopped, got[i]!.ids.length < o.maxNew ? 'eos' : 'length')
      }
    }),
    runs(12),
  )
})

test('neither batch size nor order nor company change an answer, drawn or likeliest', async () => {
  await fc.assert(
    fc.asyncProperty(
      prompts,
      fc.nat(50),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(0, 1.5),
      async (ps, seed, batch, temperature) => {
        const sampling = { temperature, topK: 8, topP: 0.9, seed }
        const o = greedy({ sampling, eosIds: [1], minNew: 1 })
        const asked = requests(ps)
        const whole = await answers(grid(batch), seed, asked, o)
        const turned = await answers(grid(3, 6, 12), seed, asked.toReversed(), o)
        assert.deepEqual(turned.toReversed(), whole)
        const sole = await answers(grid(1), seed, asked.slice(-1), o)
        assert.deepEqual(sole[0], whole.at(-1))
      },
    ),
    runs(12),
  )
})

test('an EOS ends an answer and is not part of it; before min_new_tokens there is none', async () => {
  const [g, ps] = [grid(2), requests([[3, 4, 5]])]
  const free = (await answers(g, 7, ps, greedy()))[0]!
  assert.equal(free.ids.length, 5)
  const eos = free.ids[2]!
  const first = free.ids.indexOf(eos)
  const ended = (await answers(g, 7, ps, greedy({ eosIds: [99, eos] })))[0]!
  assert.deepEqual(ended, {
    ids: free.ids.slice(0, first),
    text: free.ids.slice(0, first).join(' '),
    logProbs: [],
    stopped: 'eos',
    cut: 0,
  })
  const later = (await answers(g, 7, ps, greedy({ eosIds: [eos], minNew: 5 })))[0]!
  assert.equal(later.ids.length, 5)
  assert.ok(!later.ids.includes(eos))
  assert.equal(later.stopped, 'length')
})

test('an answer ends where the cache does, and a long prompt keeps its last tokens', async () => {
  const long = [1, 2, 3, 4, 5, 6, 7, 8, 9]
  const tight = { batch: 2, prompt: 6, capacity: 7 }
  const o = greedy({ maxNew: 3 })
  assert.equal(promptRoom(tight, o.maxNew), 4)
  assert.equal(promptRoom(tight, 100), 4)
  const [a, b] = await answers(tight, 3, requests([long, [1, 2]]), o)
  assert.equal(a!.cut, 5)
  assert.equal(b!.cut, 0)
  const [alone] = await answers(tight, 3, requests([long.slice(-4)]), o)
  assert.deepEqual({ ...a, cut: 0 }, alone)
  const [all] = await answers(tight, 3, requests([long]), greedy({ maxNew: 100 }))
  assert.deepEqual([all!.ids.length, all!.stopped, all!.cut], [3, 'length', 5])
})

test('a prompt that fits is whole however long the answer may be; one that does not keeps its BOS', async () => {
  const tight = { batch: 2, prompt: 7, capacity: 7 }
  const wide = { batch: 1, prompt: 10, capacity: 12 }
  const ps = [
    [1, 2, 3, 4, 5, 6, 7],
    [1, 2, 3, 4, 5, 6],
    [1, 2, 3],
  ]
  const got = await answers(tight, 3, requests(ps), greedy({ maxNew: 100 }))
  for (const [i, p] of ps.entries()) {
    const free = Math.max(1, tight.capacity - p.length)
    assert.equal(got[i]!.cut, 0)
    const session = await tinySession(reference, wide, 3)
    assert.deepEqual(got[i]!.ids, await recomputed(session, wide, p, free))
  }
  const full = { ...openRow(requests(ps)[0]!, tight, greedy({ maxNew: 100 })), ids: [4] }
  const { positions } = stepGrid([full], tight)
  assert.deepEqual(Array.from(positions as Int32Array), [tight.capacity - 1])
  const long = [9, 2, 3, 4, 5, 6, 7, 8]
  const [cut] = await answers(tight, 3, requests([long]), greedy({ maxNew: 3, bosId: 9 }))
  const [begun] = await answers(tight, 3, requests([[9, 6, 7, 8]]), greedy({ maxNew: 3 }))
  assert.deepEqual(cut, { ...begun, cut: 4 })
})

test('a greedy choice asks for ids alone, any other for scores, and both choose alike', async () => {
  const g = grid(3)
  const asked: Array<string> = []
  const watched = async (): Promise<Session> => {
    const s = await tinySession(reference, g, 7)
    return {
      ...s,
      run: (fn, inputs, wanted) => {
        asked.push(`${fn} ${String(wanted)}`)
        return s.run(fn, inputs, wanted)
      },
    }
  }
  const ps = requests([[3, 4, 5], [1], [2, 9]])
  const said = async (o: Options) => {
    asked.length = 0
    const got = right(await answer(await watched(), g, ps, o)())
    return { got, asked: [...new Set(asked)] }
  }
  const free = await said(greedy())
  assert.deepEqual(free.asked, ['prefill next', 'decode next'])
  const unused = Array.from({ length: tiny.vocab }, (_, id) => id).find((id) =>
    free.got.every((a) => !a.ids.includes(id)),
  )!
  // No end before two tokens: of these the scores are needed.
  const banned = await said(greedy({ eosIds: [unused], minNew: 2 }))
  assert.deepEqual(banned.asked, ['prefill logits', 'decode logits', 'decode next'])
  assert.deepEqual(banned.got, free.got)
  // The likeliest of one is drawn by its score.
  const sampling = { temperature: 1, topK: 1, topP: 1, seed: 3 }
  const drawn = await said(greedy({ sampling }))
  assert.deepEqual(drawn.asked, ['prefill logits', 'decode logits'])
  assert.deepEqual(drawn.got, free.got)
})

test('an output that a function has not is an error with those it has', async () => {
  const session = await tinySession(reference, grid(1), 1)
  const feeds = stepGrid([openRow(requests([[1]])[0]!, grid(1), greedy())], grid(1))
  const odd = await session.run('decode', feeds, ['nxt'])()
  assert.equal(odd._tag, 'Left')
  assert.match(
    odd._tag === 'Left' ? odd.left.message : '',
    /@decode has no output nxt, only logits, next/,
  )
})

test('progress counts up to all requests and all tokens', async () => {
  const g = grid(2)
  const seen: Array<readonly [number, number, number]> = []
  const session = await tinySession(reference, g, 1)
  const asked = requests([[1], [2, 3], [4]])
  const got = right(
    await answer(session, g, asked, greedy(), (p) => seen.push([p.done, p.of, p.tokens]))(),
  )
  const total = got.reduce((n, a) => n + a.ids.length, 0)
  assert.deepEqual(seen.at(-1), [3, 3, total])
  assert.deepEqual(seen[0], [0, 3, 2])
  seen.reduce((before, now) => {
    assert.ok(now[0] >= before[0] && now[2] > before[2])
    return now
  })
})

test('prompts that cannot be asked, and weights that are broken, are issues', async () => {
  const g = grid(2)
  const session = await tinySession(reference, g, 1)
  const why = async (ps: ReadonlyArray<ReadonlyArray<number>>) => {
    const failed = await answer(session, g, requests(ps), greedy())()
    assert.equal(failed._tag, 'Left')
    return failed._tag === 'Left' ? failed.left.message : ''
  }
  assert.match(await why([[1], []]), /prompt 2 has no token/)
  assert.match(await why([[1, 11]]), /prompt 1 has a token of id 11/)
  for (const id of [-1, 1.5, -100, NaN])
    assert.equal(await why([[1], [id]]), `prompt 2 has a token of id ${id}`)
  const norm = new Float32Array(tiny.hidden).fill(NaN)
  right(await session.write('model.norm.weight', new Uint8Array(norm.buffer))())
  assert.match(await why([[1]]), /no finite score/)
  assert.deepEqual(right(await answer(session, g, [], greedy())()), [])
})

test('a golden model with its trained adapter answers as transformers and PEFT do', async () => {
  const g = load('llama2-tiny')
  const file = path.join(import.meta.dirname, 'fixtures/golden/llama2-tiny/base/config.json')
  const spec = right(readSpec(JSON.parse(fs.readFileSync(file, 'utf8'))))
  const golden = Array.from(g.numbers.get('gen.ids')!)
  const place = { batch: 2, prompt: 8, capacity: golden.length + 2 }
  const { r, alpha, targets } = g.settings
  const techniques = { ...untouched, lora: { r, alpha, dropout: 0, targets } }
  const { program } = right(
    generationPlan({ name: 'x', folder: null, spec, packed: null, remarks: [] }, techniques, place),
  )
  assert.deepEqual(
    program.fns.map((f) => f.name),
    ['prefill', 'decode'],
  )
  const session = await open(reference, g, program, (key) => g.numbers.get(`train.final.${key}`))
  const o = greedy({ maxNew: golden.length - 6, vocab: spec.vocab })
  const got = right(await answer(session, place, requests([golden.slice(0, 6)]), o)())
  assert.deepEqual(got[0]!.ids, golden.slice(6))
})

test('the model that answers has the weights that are trained: the output head keeps its width and has no adapter', () => {
  const spec = { ...tiny, hidden: 64, headDim: 16, rope: { ...tiny.rope, dim: 16 } }
  const techniques = {
    ...untouched,
    lora: { r: 2, alpha: 4, dropout: 0, targets: ['q_proj', 'v_proj'] },
    quantize: { block: 64, nested: null },
  }
  const g = grid(2)
  const { program } = right(
    generationPlan({ name: 'x', folder: null, spec, packed: null, remarks: [] }, techniques, g),
  )
  const trained = right(
    compile(pipeline(techniques))(
      right(model('x', spec, { rows: 1, length: g.prompt, generate: g })),
    ),
  ).program
  const types = new Map(trained.state.map((s) => [s.name, show(s.type)]))
  for (const s of program.state) assert.equal(show(s.type), types.get(s.name), s.name)
})

test('held-out rows are answered, judged and laid beside each other', async () => {
  const g = grid(2)
  const question = (row: number, ids: ReadonlyArray<number>, expected: string) => ({
    row,
    prompt: `p${row}`,
    ids,
    expected,
  })
  const said = async (seed: number, ids: ReadonlyArray<number>) =>
    (await answers(g, seed, requests([ids]), greedy()))[0]!.text
  const qs = [
    question(4, [1, 2], ` ${await said(1, [1, 2])}\n`),
    question(9, [3], `${await said(1, [3])} 0`),
    question(2, [5, 6, 7], await said(2, [5, 6, 7])),
  ]
  const judge = async (seed: number) =>
    right(await exactness(await tinySession(reference, g, seed), g, qs, greedy())())
  const [before, after] = [await judge(1), await judge(2)]
  assert.deepEqual(
    before.rows.map((r) => r.matches),
    [true, false, before.rows[2]!.answer.text === qs[2]!.expected],
  )
  assert.equal(before.exactMatch, before.rows.filter((r) => r.matches).length / 3)
  const shown = compared(before, after, 2)
  assert.deepEqual(
    shown.map((c) => [c.row, c.prompt, c.before!.matches, c.after.matches]),
    [0, 1].map((i) => [qs[i]!.row, qs[i]!.prompt, before.rows[i]!.matches, after.rows[i]!.matches]),
  )
  assert.equal(compared(null, after, 9).length, 3)
  assert.equal(compared(null, after, 1)[0]!.before, null)
})

test('a held-out row draws by its own number: the same in any company, not as its neighbours', async () => {
  const g = grid(3)
  const qs = [4, 9, 2, 7].map((row) => ({ row, prompt: '', ids: [1, 2], expected: '' }))
  const o = greedy({ sampling: { temperature: 3, topK: 0, topP: 1, seed: 5 } })
  const said = async (asked: typeof qs) => {
    const { rows } = right(await exactness(await tinySession(reference, g, 1), g, asked, o)())
    return rows.map((r) => r.answer.text)
  }
  const all = await said(qs)
  assert.equal(new Set(all).size, 4)
  assert.deepEqual(await said(qs.slice(2)), all.slice(2))
})

test('a grid is as wide as its prompts and leaves room for answers where the context has it', () => {
  const text =
    'model_type: llm\nbase_model: x\ninput_features: [{name: a, type: text}]\noutput_features: [{name: b, type: text}]\ntrainer: {type: finetune}\ngeneration: {max_new_tokens: 20}\n'
  const { config } = right(parseConfig(text, { file: 'x.yaml' }))
  const spec = { ...tiny, context: 64 }
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 90, size: 'max' }),
      (lengths) => {
        const g = gridFor(config, spec, lengths)
        const longest = Math.max(1, ...lengths)
        assert.ok(g.batch >= 1 && g.capacity <= spec.context)
        assert.ok(g.prompt >= Math.min(longest, spec.context) && g.prompt <= g.capacity)
        assert.equal(g.capacity, Math.min(spec.context, g.prompt + 20))
        // Batches are as equal as can be: the last lacks fewer rows than there are batches.
        const batches = Math.ceil(lengths.length / g.batch)
        assert.ok(batches * g.batch - lengths.length < Math.max(1, batches) || lengths.length === 0)
      },
    ),
    runs(100),
  )
})
