/** Recomputation: no bit changes, the peak never rises, and a budget that can be met is met. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builder } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { print } from '../ir/print.ts'
import { tensor } from '../ir/type.ts'
import { differentiate, rematerialize, schedule, simplify, type Policy } from '../passes/index.ts'
import { peakOf, stateBytes } from '../passes/memory.ts'
import { pipeline } from '../src/pipeline.ts'
import { fc, holds, runs } from './fc.ts'
import { preserves, sameBits, through } from './laws.ts'
import { forward, pack, plainSpec, samples, scored, spec, techniques, worldOn } from './programs.ts'

const batches = samples(2).filter((all) => scored(all) > 0)
const policies = fc.constantFrom<Policy>(
  { _tag: 'none' },
  { _tag: 'layers' },
  { _tag: 'budget', bytes: 1 },
)
const compiled = fc
  .tuple(spec, techniques)
  .map(([s, o]) =>
    through(...pipeline({ ...o, recompute: { _tag: 'none' } }).slice(0, -1))(forward(s, 2)),
  )
const peak = (p: Program): number =>
  stateBytes(p) + Math.max(...p.fns.filter((f) => f.name === 'micro').map((f) => peakOf(p, f)))

test('rematerialize: bit for bit the same step, and the peak is never higher', () => {
  fc.assert(
    fc.property(compiled, policies, batches, (p, policy, all) => {
      const pass = rematerialize(policy)
      const rows = [pack(all)[0]!, pack(all)[1] ?? []]
      holds(preserves(sameBits, pass)(p, worldOn(5, rows, scored(all))))
      holds(peak(through(pass)(p)) <= peak(p), 'before placement')
      holds(peak(through(pass, schedule)(p)) <= peak(through(schedule)(p)), 'as scheduled')
      if (policy._tag === 'none') assert.equal(print(through(pass)(p)), print(p))
    }),
    runs(20),
  )
})

test('rematerialize: a budget that some choice can meet is met; one that is met already costs nothing', () => {
  fc.assert(
    fc.property(compiled, fc.double({ min: 0, max: 1, noNaN: true }), (p, t) => {
      const tight = through(rematerialize({ _tag: 'budget', bytes: 1 }))(p)
      const budget = Math.ceil(peak(tight) + t * (peak(p) - peak(tight)))
      const q = through(rematerialize({ _tag: 'budget', bytes: budget }))(p)
      holds(peak(q) <= budget, `${peak(q)} of ${budget}, between ${peak(tight)} and ${peak(p)}`)
      const ample = through(rematerialize({ _tag: 'budget', bytes: peak(p) }))(p)
      assert.equal(print(ample), print(p))
    }),
    runs(20),
  )
})

test('rematerialize: recomputes what it says it does, in a deep enough model', () => {
  const deep = forward({ ...plainSpec, layers: 4, intermediate: 64 }, 8)
  const o = {
    ...fc.sample(techniques, { seed: 1, numRuns: 1 })[0]!,
    quantize: null,
    compute: 'f32' as const,
  }
  const p = through(...pipeline({ ...o, recompute: { _tag: 'none' } }).slice(0, -1))(deep)
  const again = (q: Program): number =>
    q.fns.flatMap((f) => f.eqns).filter((e) => e.place.stage === 'recompute').length
  const layers = through(rematerialize({ _tag: 'layers' }))(p)
  holds(again(layers) > again(p), 'something is computed again')
  holds(peak(layers) < peak(p), `${peak(layers)} is less than ${peak(p)}`)
  const between = Math.floor((peak(layers) + peak(p)) / 2)
  const some = through(rematerialize({ _tag: 'budget', bytes: between }))(p)
  holds(
    peak(some) <= between && again(some) <= again(layers),
    'a budget recomputes no more than all',
  )
  holds(again(through(differentiate)(deep)) === 0, 'without the pass nothing is')
})

test('rematerialize: what would cost memory to recompute is kept', () => {
  const load = (name: string, role: State['role'], ...shape: ReadonlyArray<number>): State => ({
    name,
    type: tensor('f32', ...shape),
    role,
    recipe: { _tag: 'load', key: name },
  })
  const state = [load('e', 'train', 3, 64), load('v', 'frozen', 2, 64), load('w', 'frozen', 64, 2)]
  const b = builder()
  const [e, v, w] = state.map(b.read) as [number, number, number]
  const wide = b.alg.embed(e, b.input('tokens', tensor('i32', 2, 8)))
  // A narrow value of a layer, made from a wide one that nothing else needs any more.
  const narrow = b.at({ scope: 'layers.0.mlp' }, () => b.alg.dot({ tb: true }, wide, v))
  const out = b.at({ scope: 'layers.0.mlp' }, () => b.alg.mul(narrow, narrow))
  const loss = b.at({ scope: 'head' }, () => b.alg.sumSquares(b.alg.dot({ tb: true }, out, w)))
  const f = b.done({
    name: 'micro',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
  const p = through(differentiate, simplify)({ name: 'p', state, fns: [f] })
  holds(peak(through(rematerialize({ _tag: 'layers' }))(p)) <= peak(p))
})
