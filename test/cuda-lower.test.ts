/** Laws of lowering, on random programs and on whole models: the arena, the equations that launches cover, the text. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choose } from '../backends/cuda/lower/choose.ts'
import { contextOf, type Target } from '../backends/cuda/lower/context.ts'
import { lower, mastersOf, type Lowered } from '../backends/cuda/lower/lower.ts'
import { layOut } from '../backends/cuda/lower/place.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import type { Key } from '../backends/cuda/lower/step.ts'
import { assumed, cards } from '../backends/cuda/lower/targets.ts'
import { loweredText } from '../backends/cuda/lower/text.ts'
import type { Launch, Matrix } from '../backends/cuda/launch.ts'
import type { Fn, Id, Program } from '../ir/graph.ts'
import { parse } from '../ir/parse.ts'
import { print } from '../ir/print.ts'
import { bytes, isEncoded, tensor, type Plain, type TensorType } from '../ir/type.ts'
import { schedule } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { program } from './arbitrary.ts'
import { trained } from './conformance.ts'
import { fc } from './fc.ts'
import { right } from './right.ts'

const scheduled = (p: Program): Program => right(compile([schedule])(p)).program
const targets = cards.map((c) => c.target)

const models = [
  trained('f32', { _tag: 'none' }),
  trained('bf16', { _tag: 'layers' }),
  trained('f16', { _tag: 'none' }),
  trained('float8', { _tag: 'layers' }),
]

/** Holds for random programs on every card, and for the conformance models on the oldest and the one planned for. */
const law = (name: string, holds: (p: Program, t: Target) => void, numRuns = 60): void => {
  test(name, () => {
    for (const p of models) for (const t of [targets[0]!, assumed.target]) holds(p, t)
    fc.assert(
      fc.property(program, fc.constantFrom(...targets), (p, t) => holds(scheduled(p), t)),
      { numRuns },
    )
  })
}

const width = { f32: 4, f16: 2, bf16: 2, e4m3: 1, e5m2: 1 } as const
const extent = (m: Matrix): readonly [number, number] => [
  m.offset,
  m.offset + ((m.rows - 1) * m.ld + m.columns) * width[m.dtype],
]

/** Bytes that a launch names: of a kernel's operands only where they begin. */
const spans = (l: Launch): ReadonlyArray<readonly [number, number]> => {
  switch (l._tag) {
    case 'kernel':
      return l.args.flatMap((a) =>
        a._tag === 'at' || a._tag === 'map' ? [[a.offset, a.offset + 1] as const] : [],
      )
    case 'product':
      return [l.a, l.b, l.d, ...(l.c === null ? [] : [l.c])].map(extent)
    case 'clear':
      return [[l.offset, l.offset + l.length]]
    case 'copy':
      return [l.from, l.to].map((at) => [at, at + l.length] as const)
  }
}

law('every operand of every launch lies inside the arena', (p, t) => {
  const l = lower(p, t)
  for (const f of l.fns) {
    for (const x of f.launches)
      for (const [from, to] of spans(x))
        assert.ok(
          from >= 0 && from < to && to <= l.arenaBytes,
          `@${f.name} ${x.rule} ${from}-${to}`,
        )
    for (const port of [...f.inputs, ...f.outs])
      assert.ok(port.offset + bytes(port.type) <= l.arenaBytes)
  }
})

/** Indices of the equations that outputs and updates depend on. */
const needed = (f: Fn): ReadonlySet<number> => {
  const maker = new Map(f.eqns.flatMap((e, i) => e.outs.map((o) => [o, i] as const)))
  const found = new Set<number>()
  const visit = (id: Id): void => {
    const i = maker.get(id)
    if (i === undefined || found.has(i)) return
    found.add(i)
    f.eqns[i]!.args.forEach(visit)
  }
  for (const o of [...f.outs, ...f.updates]) visit(o.id)
  return found
}

law(
  'launches cover every equation that the results depend on, and name no other function’s',
  (p, t) => {
    const l = lower(p, t)
    p.fns.forEach((f, k) => {
      const covered = new Set(l.fns[k]!.launches.flatMap((x) => x.covers))
      for (const i of needed(f))
        assert.ok(covered.has(i), `@${f.name} equation ${i} ${f.eqns[i]!.op}`)
      for (const i of covered) assert.ok(f.eqns[i] !== undefined, `@${f.name} has no equation ${i}`)
    })
  },
)

law(
  'the same program, also when read back from its text, gives the same list',
  (p, t) => {
    const text = loweredText(lower(p, t))
    assert.equal(loweredText(lower(p, t)), text)
    assert.equal(loweredText(lower(scheduled(right(parse(print(p)))), t)), text)
  },
  25,
)

/** Byte ranges of a value: rows of its columns, `ld` elements apart. */
const rangesOf = (
  type: TensorType,
  { offset, ld }: { readonly offset: number; readonly ld: number },
): ReadonlyArray<readonly [number, number]> => {
  if (isEncoded(type.dtype)) return [[offset, offset + bytes(type)]]
  const each = bytes(tensor(type.dtype as Plain, 1))
  const columns = type.shape.at(-1) ?? 1
  const rows = type.shape.slice(0, -1).reduce((n, d) => n * d, 1)
  return Array.from({ length: rows }, (_, r) => {
    const from = offset + r * ld * each
    return [from, from + columns * each] as const
  })
}

/**
 * Runs the steps over a memory that knows whose each byte is: what a step reads is still there, and nothing that it
 * writes lies on what it reads, but where it says that it may.
 */
const shadow = (p: Program, l: Lowered, f: Fn, t: Target): void => {
  const c = contextOf(p, f, t, mastersOf(p, l.state))
  const { steps, joins } = choose(c, rules)
  const stateAt = new Map([...l.state].map(([name, s]) => [name, s.offset]))
  const base = Math.max(0, ...[...l.state.values()].map((s) => s.offset + bytes(s.type)))
  const layout = layOut(p, f, steps, joins, stateAt, Math.ceil(base / 256) * 256)
  const types = new Map<Key, TensorType>([
    ...c.types,
    ...steps.flatMap((s) => s.writes.map((w) => [w.key, w.type] as const)),
  ])
  const owners: string[] = []
  const owner = new Int32Array(l.arenaBytes).fill(-1)
  const own = (who: string, ranges: ReadonlyArray<readonly [number, number]>): void => {
    const id = owners.push(who) - 1
    for (const [a, b] of ranges) owner.fill(id, a, b)
  }
  const at = (key: Key) => rangesOf(types.get(key)!, layout.rows(key))
  const mine = (key: Key, who: string, when: string): void => {
    for (const [a, b] of at(key))
      for (let i = a; i < b; i++)
        assert.equal(owners[owner[i]!] ?? 'nobody', who, `@${f.name} ${when}: ${key} at byte ${i}`)
  }
  const meets = (a: Key, b: ReadonlyArray<readonly [number, number]>): boolean =>
    at(a).some(([from, to]) => b.some(([x, y]) => x < to && from < y))
  // A value read from state is the state's, whichever name it has here.
  for (const r of f.reads) own(`${r.id}`, at(r.id))
  for (const s of p.state)
    if (!f.reads.some((r) => r.state === s.name)) {
      const from = l.state.get(s.name)!.offset
      own(s.name, [[from, from + bytes(s.type)]])
    }
  for (const x of f.inputs) own(`${x.id}`, at(x.id))
  steps.forEach((s, i) => {
    const when = `step ${i} ${s.rule}`
    for (const r of s.reads) mine(r, `${r}`, when)
    const places = layout.places(i)
    const scratch = s.scratch.map((n, k) => [places.scratch(k), places.scratch(k) + n] as const)
    for (const r of s.reads) {
      assert.ok(!meets(r, scratch), `${when}: scratch lies on ${r}`)
      for (const w of s.writes) {
        const may = s.over.some(([made, old]) => made === w.key && old === r)
        assert.ok(may || !meets(r, at(w.key)), `${when}: ${w.key} lies on ${r}`)
      }
    }
    own(when, scratch)
    for (const w of s.writes) own(`${w.key}`, at(w.key))
    for (const w of s.writes) mine(w.key, `${w.key}`, `${when}, its own results`)
  })
  for (const o of f.outs) mine(o.id, `${o.id}`, 'at the end')
  const copied = new Map(layout.copies.map((x) => [x.state, x.key]))
  for (const u of f.updates) {
    mine(u.id, `${u.id}`, 'at the end')
    const place = l.state.get(u.state)!.offset
    assert.ok(copied.get(u.state) === u.id || layout.rows(u.id).offset === place, u.state)
  }
  // What is neither read nor updated is left alone.
  for (const s of p.state)
    if (!f.updates.some((u) => u.state === s.name)) {
      const read = f.reads.find((r) => r.state === s.name)
      const who = read === undefined ? s.name : `${read.id}`
      const from = l.state.get(s.name)!.offset
      for (let i = from; i < from + bytes(s.type); i++)
        assert.equal(owners[owner[i]!], who, `@${f.name} writes over ${s.name}`)
    }
}

law('no value is written over while it is needed, and no step writes on what it reads', (p, t) => {
  const l = lower(p, t)
  for (const f of p.fns) shadow(p, l, f, t)
})
