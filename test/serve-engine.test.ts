/** The engine of `serve`: whoever joins when, everyone gets the answer that he would get alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend, Session } from '../backends/backend.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import { answer, type Grid, type Sampling } from '../src/generate/index.ts'
import { prefillName } from '../src/models/llama.ts'
import { openEngine } from '../src/serve/engine.ts'
import { unadjusted, type Ended, type Work } from '../src/serve/work.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { fc, runs } from './fc.ts'
import { greedy, tiny, tinySession } from './generate-model.ts'
import { right } from './right.ts'

const grid: Grid = { batch: 2, prompt: 6, capacity: 10, shorter: [2] }

interface Told {
  readonly work: Work
  readonly ids: ReadonlyArray<number>
  /** Null until it has ended. */
  readonly ended: () => Ended | null
  readonly done: Promise<Ended>
}

const told = (prompt: ReadonlyArray<number>, more: Partial<Work> = {}): Told => {
  const ids: Array<number> = []
  let ended: Ended | null = null
  let resolve: (why: Ended) => void
  const done = new Promise<Ended>((r) => (resolve = r))
  const work: Work = {
    prompt,
    sequence: 0,
    sampling: { temperature: 0, topK: 0, topP: 1, seed: 1 },
    adjust: unadjusted,
    minNew: 0,
    eosIds: [],
    limit: 4,
    wantsScores: false,
    take: (id) => (ids.push(id), false),
    end: (why) => {
      assert.equal(ended, null, 'ended once')
      ended = why
      resolve(why)
    },
    ...more,
  }
  return { work, ids, ended: () => ended, done }
}

const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** A session that says which functions ran. */
const watched = (session: Session, ran: Array<string>): Session => ({
  ...session,
  run: (fn, inputs, wanted) => {
    ran.push(`${fn} ${String(wanted)}`)
    return session.run(fn, inputs, wanted)
  },
})

const asked = fc.record({
  prompt: fc.array(fc.nat(tiny.vocab - 1), { minLength: 1, maxLength: 6 }),
  wait: fc.nat(4),
  limit: fc.integer({ min: 1, max: 6 }),
  temperature: fc.constantFrom(0, 1.5),
  minNew: fc.nat(2),
})

test('whoever joins when and beside whom, an answer is the one that its prompt gets alone', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(asked, { minLength: 1, maxLength: 6 }),
      fc.nat(50),
      async (all, seed) => {
        const session = await tinySession(reference, grid, seed)
        const engine = openEngine(session, grid, 8)
        const tolds: Array<Told> = []
        const settings = all.map(({ temperature, limit, minNew }, sequence) => ({
          sampling: { temperature, topK: 8, topP: 0.9, seed } satisfies Sampling,
          eosIds: [1],
          sequence,
          limit,
          minNew,
        }))
        for (const [i, { prompt, wait }] of all.entries()) {
          const t = told(prompt, settings[i]!)
          tolds.push(t)
          right(engine.submit([t.work]))
          await turns(wait)
        }
        const ends = await Promise.all(tolds.map((t) => t.done))
        for (const [i, { prompt }] of all.entries()) {
          const { sampling, limit: maxNew, minNew, sequence } = settings[i]!
          const o = greedy({ sampling, maxNew, minNew, eosIds: [1] })
          const [alone] = right(await answer(session, grid, [{ prompt, sequence }], o)())
          assert.deepEqual(tolds[i]!.ids, alone!.ids)
          assert.equal(ends[i]!._tag, alone!.stopped)
        }
      },
    ),
    runs(12),
  )
})

test('a sequence joins while another runs, by the shortest prefill that holds its prompt', async () => {
  const ran: Array<string> = []
  const session = watched(await tinySession(reference, grid, 7), ran)
  const engine = openEngine(session, grid, 8)
  const long = told([3, 4, 5], { limit: 5 })
  right(engine.submit([long.work]))
  await turns(4)
  const [short, third] = [told([6], { limit: 2 }), told([9, 8], { limit: 1 })]
  right(engine.submit([short.work, third.work]))
  await Promise.all([long.done, short.done, third.done])
  assert.equal(prefillName(grid, 2), 'prefill2')
  assert.equal(ran[0], 'prefill next')
  const joins = ran.filter((r) => r.startsWith('prefill2'))
  assert.equal(joins.length, 2, 'the third waits for a slot')
  const last = ran.lastIndexOf('decode next')
  assert.ok(last > ran.indexOf(joins[0]!), 'the first goes on after the second has joined')
  assert.equal(long.ids.length, 5)
})

test('who asks together begins together, and ids alone come back where nobody needs scores', async () => {
  const ran: Array<string> = []
  const session = watched(await tinySession(reference, grid, 7), ran)
  const engine = openEngine(session, grid, 8)
  const both = [told([3, 4, 5], { limit: 2 }), told([1], { limit: 2 })]
  for (const { work } of both) right(engine.submit([work]))
  await Promise.all(both.map((t) => t.done))
  assert.deepEqual(ran, ['prefill next', 'decode next'])
  ran.length = 0
  const biased = told([3, 4, 5], { adjust: { ...unadjusted, bias: new Map([[9, 100]]) } })
  right(engine.submit([biased.work]))
  await biased.done
  assert.ok(ran.every((r) => r.endsWith('logits')))
  assert.deepEqual(biased.ids, [9, 9, 9, 9])
  const varied = told([3, 4, 5], {
    adjust: { bias: new Map([[9, 50], [8, 49]]), presence: 2, frequency: 0 },
    limit: 2,
  }) // prettier-ignore
  right(engine.submit([varied.work]))
  await varied.done
  assert.deepEqual(varied.ids, [9, 8])
})

test('too many are refused whole, a stopped one leaves, and closing lets the rest end', async () => {
  const session = await tinySession(reference, grid, 7)
  const engine = openEngine(session, grid, 1)
  const four = Array.from({ length: 4 }, () => told([1], { limit: 3 }).work)
  assert.deepEqual(engine.submit(four), { _tag: 'Left', left: 'beyond' })
  const [a, b, c] = [told([1], { limit: 9 }), told([2], { limit: 9 }), told([3], { limit: 2 })]
  const stop = [a, b, c].map((t) => right(engine.submit([t.work])))
  assert.deepEqual(engine.submit([told([4]).work]), { _tag: 'Left', left: 'full' })
  assert.deepEqual(engine.counts(), { running: 0, waiting: 3 })
  await turns(3)
  assert.deepEqual(engine.counts(), { running: 2, waiting: 1 })
  stop[0]!()
  assert.equal((await a.done)._tag, 'cancelled')
  const closed = engine.close()
  assert.deepEqual(engine.submit([told([4]).work]), { _tag: 'Left', left: 'closing' })
  await closed
  assert.equal(b.ended()!._tag, 'length')
  assert.equal(c.ended()!._tag, 'length')
  assert.ok(a.ids.length < 9)
})

test('what waits can be stopped too, and one that takes no more ends as it says', async () => {
  const session = await tinySession(reference, grid, 7)
  const engine = openEngine(session, { ...grid }, 4)
  const [a, b, c] = [told([1], { limit: 9 }), told([2], { limit: 9 }), told([3])]
  right(engine.submit([a.work, b.work]))
  right(engine.submit([c.work]))()
  assert.equal(c.ended()!._tag, 'cancelled')
  const few = told([5, 6], { take: () => true })
  right(engine.submit([few.work]))
  assert.equal((await few.done)._tag, 'stop')
  await engine.close()
})

test('a model whose scores are no numbers fails its requests, and a backend that fails says why', async () => {
  const session = await tinySession(reference, grid, 7)
  const norm = new Float32Array(tiny.hidden).fill(NaN)
  right(await session.write('model.norm.weight', new Uint8Array(norm.buffer))())
  const engine = openEngine(session, grid, 4)
  const bad = told([1])
  right(engine.submit([bad.work]))
  const why = await bad.done
  assert.ok(why._tag === 'failed' && /no finite score/.test(why.issue.message))
  const broken = openEngine(
    { ...session, run: () => async () => ({ _tag: 'Left', left: { _tag: 'BackendError', backend: 'x', message: 'gone' } }) },
    grid,
    4,
  ) // prettier-ignore
  const lost = told([1])
  right(broken.submit([lost.work]))
  const said = await lost.done
  assert.ok(said._tag === 'failed' && said.issue.message === 'x: gone')
})

/** A long sequence, and two that join it while it runs. */
const idsOn = async (backend: Backend): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
  const engine = openEngine(await tinySession(backend, grid, 7), grid, 8)
  const all: Array<Array<number>> = []
  const begin = (prompt: ReadonlyArray<number>, limit: number): Promise<void> =>
    new Promise((resolve) => {
      const ids: Array<number> = []
      all.push(ids)
      const work: Work = {
        prompt,
        limit,
        sequence: 0,
        sampling: { temperature: 0, topK: 0, topP: 1, seed: 1 },
        adjust: unadjusted,
        minNew: 0,
        eosIds: [],
        wantsScores: false,
        take: (id) => {
          ids.push(id)
          // The others come once this one has begun.
          if (all.length === 1 && ids.length === 2) joined = [begin([6], 3), begin([9, 8], 2)]
          return false
        },
        end: () => resolve(),
      }
      right(engine.submit([work]))
    })
  let joined: ReadonlyArray<Promise<void>> = []
  await begin([3, 4, 5], 6)
  await Promise.all(joined)
  await engine.close()
  return all
}

test('sequences join and leave on a GPU as on the definition', { skip: noCompiler }, async () => {
  const [gpu, definition] = [await idsOn(emulated(cardOf('sm_90')!.target)), await idsOn(reference)]
  assert.deepEqual(gpu, definition)
  assert.deepEqual(definition.map((ids) => ids.length), [6, 3, 2])
}) // prettier-ignore
