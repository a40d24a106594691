/** The memory plan: nothing is written over while it is needed, and running inside the arena changes no bit. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session, Values } from '../backends/backend.ts'
import { decode, encode } from '../backends/bytes.ts'
import { materialize } from '../backends/materialize.ts'
import { reference } from '../backends/reference/index.ts'
import { builder } from '../ir/build.ts'
import type { Fn, Input, Program, State } from '../ir/graph.ts'
import { print } from '../ir/print.ts'
import { bytes, isEncoded, tensor } from '../ir/type.ts'
import { schedule } from '../passes/index.ts'
import { layOut, stateBytes } from '../passes/memory.ts'
import { arenaBytes } from '../passes/schedule.ts'
import { pipeline } from '../src/pipeline.ts'
import { program } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import {
  preserves,
  run,
  sameBits,
  stateTensor,
  through,
  worldOf,
  type Named,
  type World,
} from './laws.ts'
import {
  forward,
  forwardWithGeneration,
  pack,
  plainSpec,
  samples,
  scored,
  spec,
  techniques,
  worldOn,
} from './programs.ts'
import { right } from './right.ts'
import { clashes, demand } from './shadow.ts'

const sound = (p: Program): void => {
  const base = stateBytes(p)
  for (const f of p.fns) {
    assert.deepEqual(clashes(p, f), [], `${f.name}\n${print(p)}`)
    const { least, most } = demand(p, f)
    const used = layOut(p, f, base).end - base
    holds(used >= least, `@${f.name} needs ${least} bytes and has ${used}`)
    holds(used <= 1.5 * most, `@${f.name} has ${used} bytes where ${most} are alive at most`)
    const ends = [...f.offsets!].map(([id, at]) => at + bytes(typeIn(f, id)))
    holds(Math.max(0, ...ends) <= arenaBytes(p), 'the arena holds every value')
  }
}
const typeIn = (f: Fn, id: number) => {
  const input = f.inputs.find((i) => i.id === id)
  if (input !== undefined) return input.type
  const e = f.eqns.find((x) => x.outs.includes(id))!
  return e.types[e.outs.indexOf(id)]!
}

test('schedule: random programs with updates in place, none written over while needed', () => {
  fc.assert(
    fc.property(program, (p) => sound(through(schedule)(p))),
    runs(300),
  )
})

test('schedule: the whole pipeline in every combination of techniques', () => {
  fc.assert(
    fc.property(spec, techniques, (s, o) => sound(through(...pipeline(o))(forward(s, 2)))),
    runs(15),
  )
  sound(through(schedule)(forwardWithGeneration(plainSpec)))
})

test('schedule: bit for bit, and idempotent in its order', () => {
  fc.assert(
    fc.property(program, fc.nat(9999), (p, seed) => {
      holds(preserves(sameBits, schedule)(p, worldOf(seed)))
      assert.equal(print(through(schedule, schedule)(p)), print(through(schedule)(p)))
    }),
    runs(150),
  )
})

test('schedule: an update that each element makes of itself is made in place', () => {
  const state: State = {
    name: 'w',
    type: tensor('f32', 8),
    role: 'train',
    recipe: { _tag: 'fill', value: 1 },
  }
  const b = builder()
  const w = b.read(state)
  const y = b.alg.add(w, b.input('x', state.type))
  const keep = (more: ReadonlyArray<{ name: string; id: number }>): Program => ({
    name: 'p',
    state: [state],
    fns: [b.done({ name: 'step', outs: more, updates: [{ state: 'w', id: y }] })],
  })
  const at = (p: Program): number => through(schedule)(p).fns[0]!.offsets!.get(y)!
  assert.equal(at(keep([])), 0)
  holds(at(keep([{ name: 'y', id: y }])) > 0, 'a result that is also returned is not')
  holds(at(keep([{ name: 'old', id: w }])) > 0, 'nor is one whose old value is returned')
})

const ok = async <T>(x: TE.TaskEither<unknown, T>): Promise<T> => right(await x())
const feed = (i: Input, w: World): Values =>
  i.type.dtype === 'i32' ? Int32Array.from(w.input(i)) : Float32Array.from(w.input(i))

/** Calls functions one after the other on the reference backend and by the evaluators; all bits must agree. */
const sameInArena = async (p: Program, w: World, calls: ReadonlyArray<string>): Promise<void> => {
  const session: Session = await ok(reference.prepare(p))
  for (const s of p.state) {
    const { type, data } = stateTensor(w, s)
    await ok(
      session.write(s.name, isEncoded(type.dtype) ? Uint8Array.from(data) : encode(type, data)),
    )
  }
  let carried: Named = {}
  for (const name of calls) {
    const f = p.fns.find((g) => g.name === name)!
    const feeds = Object.fromEntries(f.inputs.map((i) => [i.name, feed(i, w)]))
    const got = await ok(session.run(name, feeds))
    const want = run(p, w, name, 'typed', carried)
    for (const [k, x] of Object.entries(want.outs))
      holds(sameBits(Float64Array.from(got[k]!), Float64Array.from(x)), `${name}: ${k}`)
    carried = { ...carried, ...want.updates }
    for (const s of p.state.filter((x) => !isEncoded(x.type.dtype))) {
      const now = decode(s.type, await ok(session.read(s.name)))
      holds(sameBits(now, carried[s.name] ?? stateTensor(w, s).data), `${name}: state ${s.name}`)
    }
  }
  await ok(session.close())
}

test('the reference backend inside the arena equals the evaluators: random programs, twice in a row', async () => {
  await fc.assert(
    fc.asyncProperty(program, fc.nat(9999), (p, seed) =>
      sameInArena(through(schedule)(p), worldOf(seed), ['step', 'step']),
    ),
    runs(150),
  )
})

const batches = samples(2).filter((all) => scored(all) > 0)

test('the reference backend inside the arena equals the evaluators: training in every technique', async () => {
  await fc.assert(
    fc.asyncProperty(spec, techniques, batches, (s, o, all) => {
      const rows = pack(all)
      const p = through(...pipeline(o))(forward(s, rows.length))
      const w = worldOn(5, rows, scored(all))
      return sameInArena(p, w, ['micro', 'micro', 'update', 'micro', 'update', 'evaluate'])
    }),
    runs(10),
  )
})

test('the reference backend inside the arena equals the evaluators: generation', async () => {
  const base = worldOn(5, [[]], 1)
  const w: World = {
    ...base,
    input: (i) => {
      const n = i.type.shape.reduce((a, b) => a * b, 1)
      const columns = i.type.shape[1] ?? 1
      return Float64Array.from({ length: n }, (_, k) =>
        i.name === 'tokens' ? (k * 3) % 5 : i.name === 'positions' ? k % columns : 1,
      )
    },
  }
  await sameInArena(through(schedule)(forwardWithGeneration(plainSpec)), w, [
    'prefill',
    'decode',
    'decode',
  ])
})

test('materialized state has the bytes that its recipe says', async () => {
  const p = through(
    ...pipeline({
      ...fc.sample(techniques, { seed: 1, numRuns: 1 })[0]!,
      lora: { r: 2, alpha: 1, dropout: 0, targets: ['q_proj'] },
      quantize: { block: 4, nested: 3 },
      compute: 'bf16',
    }),
  )(forward(plainSpec, 1))
  const w = worldOn(5, [[]], 1)
  for (const s of p.state) {
    const source = (key: string, shape: ReadonlyArray<number>) =>
      TE.right(
        Float32Array.from(
          w.source(
            key,
            shape.reduce((a, b) => a * b, 1),
          ),
        ),
      )
    const [got, again, other] = [1, 1, 2].map((seed) => materialize(s, source, seed))
    const made = await ok(got!)
    assert.equal(made.byteLength, bytes(s.type), s.name)
    assert.deepEqual(await ok(again!), made)
    if (s.recipe._tag === 'kaiming') {
      const bound = 1 / Math.sqrt(s.type.shape[1]!)
      const values = decode(s.type, made)
      holds(values.every((x) => Math.abs(x) <= bound) && new Set(values).size > 4, s.name)
      assert.notDeepEqual(await ok(other!), made)
    } else {
      const { type, data } = stateTensor(w, s)
      assert.deepEqual(made, isEncoded(type.dtype) ? data : encode(type, data), s.name)
    }
  }
})
