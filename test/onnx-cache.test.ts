/** Caches on the ONNX backend: written in place they hold, bit for bit, what the definition says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend, Feeds } from '../backends/backend.ts'
import { onnx } from '../backends/onnx/index.ts'
import { cachesOf } from '../backends/onnx/cache.ts'
import { reference } from '../backends/reference/index.ts'
import { builder } from '../ir/build.ts'
import type { Fn, Program, State } from '../ir/graph.ts'
import { tensor, type Float } from '../ir/type.ts'
import { schedule } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { generationPlan } from '../src/generate/plan.ts'
import { tiny, untouched } from './generate-model.ts'
import { fc, runs } from './fc.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'

const [B, C, T] = [3, 5, 4]
const [kvHeads, group, dim] = [2, 2, 3]

const caches = (dtype: Float): ReadonlyArray<State> =>
  ['k', 'v'].map((name) => ({
    name,
    type: tensor(dtype, B, C, kvHeads * dim),
    role: 'cache',
    recipe: { _tag: 'fill', value: 0 },
  }))

/** Writes T rows of keys and values, and with one row attends to them; `whole` also returns the new keys. */
const fnOf = (name: string, dtype: Float, length: number, whole = false): Fn => {
  const b = builder()
  const input = (x: string, width: number) =>
    b.alg.cast(dtype, b.input(x, tensor('f32', B * length, width)))
  const positions = b.input('positions', tensor('i32', B, length))
  const [k, v] = caches(dtype).map((s) =>
    b.alg.cacheWrite(b.read(s), input(`new_${s.name}`, kvHeads * dim), positions),
  ) as [number, number]
  const q = input('q', kvHeads * group * dim)
  const heads = { heads: kvHeads * group, kvHeads }
  const out = length === 1 ? b.alg.cachedAttention(heads, q, k, v, positions) : q
  return b.done({
    name,
    outs: [
      { name: 'out', id: b.alg.cast('f32', out) },
      ...(whole ? [{ name: 'keys', id: b.alg.cast('f32', k) }] : []),
    ],
    updates: [
      { state: 'k', id: k },
      { state: 'v', id: v },
    ],
  })
}

const programOf = (dtype: Float, whole = false): Program =>
  right(
    compile([schedule])({
      name: 'caches',
      state: caches(dtype),
      fns: [fnOf('many', dtype, T), fnOf('one', dtype, 1, whole)],
    }),
  ).program

interface Call {
  readonly fn: 'many' | 'one'
  readonly inputs: Feeds
}

const numbers = (count: number) =>
  fc
    .array(fc.integer({ min: -2000, max: 2000 }), { minLength: count, maxLength: count })
    .map((xs) => Float32Array.from(xs, (x) => x / 777))

/** Rows at different places of their cache; `wild` ones also outside of it. */
const callOf = (fn: 'many' | 'one', wild: boolean): fc.Arbitrary<Call> => {
  const length = fn === 'many' ? T : 1
  const places = fn === 'many' ? fc.constantFrom(0, 1) : fc.nat(C - 1)
  return fc
    .record({
      q: numbers(B * length * kvHeads * group * dim),
      new_k: numbers(B * length * kvHeads * dim),
      new_v: numbers(B * length * kvHeads * dim),
      starts: fc.array(wild ? fc.constantFrom(0, 2, C) : places, { minLength: B, maxLength: B }),
    })
    .map(({ starts, ...x }) => {
      const positions = Int32Array.from(
        { length: B * length },
        (_, i) => starts[Math.floor(i / length)]! + (i % length),
      )
      return { fn, inputs: { ...x, positions } }
    })
}

const calls = (wild: boolean) =>
  fc
    .tuple(callOf('many', wild), fc.array(callOf('one', wild), { minLength: 1, maxLength: 4 }))
    .map(([first, rest]) => [first, ...rest])

const played = async (
  backend: Backend,
  p: Program,
  first: Uint8Array,
  all: ReadonlyArray<Call>,
) => {
  const session = right(await backend.prepare(p)())
  right(await session.write('k', first)())
  const outs: Array<Feeds> = []
  for (const { fn, inputs } of all) outs.push(right(await session.run(fn, inputs)()))
  const held = [right(await session.read('k')()), right(await session.read('v')())]
  right(await session.close()())
  return { outs, held }
}

for (const dtype of ['f32', 'f16', 'bf16'] as const)
  test(`${dtype} caches hold what the definition says, positions outside of them dropped`, async () => {
    const p = programOf(dtype)
    assert.deepEqual(
      [...cachesOf(p).heads],
      [
        ['k', kvHeads],
        ['v', kvHeads],
      ],
    )
    const bytes = B * C * kvHeads * dim * (dtype === 'f32' ? 4 : 2)
    // Every element another: bits of small normal numbers.
    const first = Uint8Array.from({ length: bytes }, (_, i) => (i % 2 === 0 ? (i * 7) % 251 : 0x30))
    await fc.assert(
      fc.asyncProperty(calls(true), async (all) => {
        const want = await played(reference, p, first, all)
        const got = await played(onnx, p, first, all)
        assert.deepEqual(got.held, want.held)
        got.outs.forEach(({ out }, i) =>
          assert.ok(relativeError(out!, want.outs[i]!['out']!) < (dtype === 'f32' ? 1e-5 : 0.02)),
        )
      }),
      runs(8),
    )
  })

test('a cache that a function also returns is not written in place, and is the same', async () => {
  const p = programOf('f32', true)
  assert.equal(cachesOf(p).heads.size, 0)
  const first = new Uint8Array(B * C * kvHeads * dim * 4)
  await fc.assert(
    fc.asyncProperty(calls(false), async (all) => {
      const [got, want] = [
        await played(onnx, p, first, all),
        await played(reference, p, first, all),
      ]
      assert.deepEqual(got.held, want.held)
      const inPlace = await played(onnx, programOf('f32'), first, all)
      assert.deepEqual(inPlace.held, want.held)
    }),
    runs(4),
  )
})

test("a model's caches are all written in place", () => {
  const base = { name: 'tiny', folder: null, spec: tiny, packed: null, remarks: [] }
  const g = { batch: 2, prompt: 4, capacity: 8 }
  const { program } = right(generationPlan(base, untouched, g))
  const { heads, writes } = cachesOf(program)
  const kept = program.state.filter((s) => s.role === 'cache')
  assert.deepEqual([...heads.keys()].toSorted(), kept.map((s) => s.name).toSorted())
  for (const f of program.fns) assert.equal(writes(f).size, kept.length)
})
