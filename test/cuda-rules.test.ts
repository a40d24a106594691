/** Every fusion rule alone, against no rule at all: the same numbers from other launches, on programs that it fits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode } from '../backends/bytes.ts'
import type { Session } from '../backends/backend.ts'
import type { Target } from '../backends/cuda/lower/context.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import type { Rule } from '../backends/cuda/lower/rule.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import type { Program } from '../ir/graph.ts'
import { isEncoded } from '../ir/type.ts'
import { load, packedBatch, trained } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { relativeError } from './golden.ts'
import { stateTensor, worldOf } from './laws.ts'
import { right } from './right.ts'

type Named = readonly [string, ArrayLike<number>]

const target: Target = { arch: 75, sms: 40, shared: 65536 }

/** Two micro-steps and an update: what they return, and all state afterwards. */
const trainedBy = async (
  p: Program,
  with_: ReadonlyArray<Rule>,
  on = target,
): Promise<ReadonlyArray<Named>> => {
  const session: Session = right(await emulated(on, with_).prepare(p)())
  const w = worldOf(7)
  await load(session, p.state, (s) => stateTensor(w, s))
  const outs: Named[] = []
  for (const micro of [0, 1])
    outs.push([`loss ${micro}`, right(await session.run('micro', packedBatch(micro))())['loss']!])
  const buffers = async (role: string) => {
    for (const s of p.state.filter((x) => x.role === role && !isEncoded(x.type.dtype)))
      outs.push([s.name, decode(s.type, right(await session.read(s.name)()))])
  }
  await buffers('gradient')
  const update = { lr: Float32Array.of(0.01), step: Float32Array.of(1) }
  outs.push(['norm', right(await session.run('update', update)())['grad_norm']!])
  for (const role of ['train', 'optimizer', 'gradient']) await buffers(role)
  right(await session.close()())
  return outs
}

/** How a program's launches are counted, by rule. */
const used = (p: Program, with_: ReadonlyArray<Rule>): ReadonlyMap<string, number> => {
  const count = new Map<string, number>()
  for (const f of lower(p, target, with_).fns)
    for (const l of f.launches) count.set(l.rule, (count.get(l.rule) ?? 0) + 1)
  return count
}

const launches = (p: Program, with_: ReadonlyArray<Rule>): number =>
  [...used(p, with_).values()].reduce((a, b) => a + b, 0)

/** Rules of generation, proven in cuda-few.test.ts and cuda-decode.test.ts, and of 8-bit state, in eight-bit.test.ts. */
const elsewhere: ReadonlySet<string> = new Set(['few', 'wide', 'token', 'greedy', 'update8'])

/** A difference that rounding makes of two ways of computing: in f32 its own; in 8 bits no more than 8 bits make of the numbers of f32. */
const kinds = [
  {
    compute: 'f32',
    of: (r: Rule) => !r.name.startsWith('float8') && !elsewhere.has(r.name),
    bound: () => 2e-5,
    counts: () => true,
  },
  {
    compute: 'float8',
    of: (r: Rule) => r.name.startsWith('float8'),
    bound: (plain: Named, exact: Named) => 2 ** -3 + 1.5 * relativeError(plain[1], exact[1]),
    // Adam's first step is the sign of each gradient, which rounding turns.
    counts: (name: string) => /^(loss|norm|grad)/.test(name),
  },
] as const

for (const { compute, bound, of, counts } of kinds)
  test(`fusion rules in ${compute}, each alone`, { skip: noCompiler }, async (t) => {
    const p = trained(compute, { _tag: 'none' })
    const plain = await trainedBy(p, [])
    const exact = compute === 'f32' ? plain : await trainedBy(trained('f32', { _tag: 'none' }), [])
    for (const rule of rules.filter(of))
      await t.test(`${rule.name}: ${rule.doc}`, async () => {
        const [before, after] = [used(p, []), used(p, [rule])]
        const found = [...after].filter(([name, n]) => before.get(name) !== n)
        assert.ok(found.length > 0, `${rule.name} finds nothing to fuse`)
        const fused = await trainedBy(p, [rule])
        fused.forEach(([name, got], i) => {
          const gap = relativeError(got, plain[i]![1])
          if (counts(name))
            assert.ok(gap < bound(plain[i]!, exact[i]!), `${name}: relative difference ${gap}`)
        })
      })
    await t.test('all of them together need fewer launches than any one', () => {
      const all = launches(p, rules)
      for (const rule of rules) assert.ok(all <= launches(p, [rule]), rule.name)
    })
  })

test(
  'decoded weights kept, all or some, or decoded one after the other: the same numbers',
  {
    skip: noCompiler,
  },
  async () => {
    const p = trained('f32', { _tag: 'none' })
    const all = await trainedBy(p, rules)
    for (const other of [{ keep: 2 }, { keep: 1 }, { scratch: 1 }]) {
      const got = await trainedBy(p, rules, { ...target, ...other })
      got.forEach(([name, x], i) => {
        const gap = relativeError(x, all[i]![1])
        assert.ok(gap < 1e-5, `${JSON.stringify(other)}: ${name} differs by ${gap}`)
      })
    }
  },
)
