/** What every backend must do as the definition does: each op's examples, random programs, and a whole model in every precision. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend, Feeds, Session } from '../backends/backend.ts'
import { decode, encode } from '../backends/bytes.ts'
import { building, builder } from '../ir/build.ts'
import { evaluateFn } from '../ir/evaluate.ts'
import { quantize } from '../ir/encoding.ts'
import type { Attrs, Fn, Id, Program, Recipe, Role, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { opNames, opOf, type OpName } from '../ir/ops/index.ts'
import { bytes, isEncoded, isFourBit, isFloat, tensor, type Float } from '../ir/type.ts'
import { reference } from '../backends/reference/index.ts'
import { schedule, type Compute, type Policy } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { model } from '../src/models/llama.ts'
import type { ModelSpec } from '../src/models/spec.ts'
import { pipeline } from '../src/pipeline.ts'
import { continuous } from './arbitrary.ts'
import { fc } from './fc.ts'
import { relativeError } from './golden.ts'
import { noise, stateTensor, worldOf, type World } from './laws.ts'
import { tensorOf } from './op-cases.ts'
import { everyOptimizer } from './optimizer-suite.ts'
import { plainSpec } from './programs.ts'
import { right } from './right.ts'

const scheduled = (p: Program): Program => right(compile([schedule])(p)).program

const bytesOf = (t: Tensor): Uint8Array =>
  isEncoded(t.type.dtype) ? Uint8Array.from(t.data) : encode(t.type, t.data)

export const load = async (
  session: Session,
  states: ReadonlyArray<State>,
  of: (s: State) => Tensor,
) => {
  for (const s of states) right(await session.write(s.name, bytesOf(of(s)))())
}

/** What the definition says: outputs and new state. */
const expected = (p: Program, f: Fn, state: (s: State) => Tensor, inputs: Feeds) => {
  const states = stateOf(p)
  const given = new Map<Id, Tensor>()
  for (const i of f.inputs)
    given.set(i.id, { type: i.type, data: Float64Array.from(inputs[i.name]!) })
  for (const r of f.reads) given.set(r.id, state(states.get(r.state)!))
  const env = evaluateFn(f, given)
  return {
    outs: f.outs.map((o) => [o.name, env.get(o.id)!] as const),
    updates: f.updates.map((u) => [u.state, env.get(u.id)!] as const),
  }
}

/** Ops whose exact result may flip with the last bit of an operand. */
const narrow = (p: Program): boolean =>
  [...p.state.map((s) => s.type), ...p.fns.flatMap((f) => f.eqns.flatMap((e) => e.types))].some(
    (t) => isFloat(t.dtype) && t.dtype !== 'f32',
  )

const agree = (
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bound: number,
): void => {
  const finite = Array.from(want).every(Number.isFinite)
  if (!finite) return
  const gap = relativeError(got, want)
  assert.ok(
    gap <= bound,
    `${what}: relative error ${gap}, got ${Array.from(got).slice(0, 8).join()} want ${Array.from(want).slice(0, 8).join()}`,
  )
}

/** Integers are 0 or 1: valid as ids, rows, positions and segments of whatever they are used for. */
const feedsOf = (f: Fn, w: World): Feeds =>
  Object.fromEntries(
    f.inputs.map((i) => {
      const x = w.input(i)
      return [
        i.name,
        i.type.dtype === 'i32' ? Int32Array.from(x, (n) => Math.abs(n) % 2) : Float32Array.from(x),
      ]
    }),
  )

const compare = async (
  backend: Backend,
  p: Program,
  state: (s: State) => Tensor,
  inputs: Feeds,
  bound: number,
) => {
  const session = right(await backend.prepare(p)())
  await load(session, p.state, state)
  for (const f of p.fns) {
    const want = expected(p, f, state, inputs)
    const got = right(await session.run(f.name, inputs)())
    for (const [name, t] of want.outs) agree(`@${f.name} ${name}`, got[name]!, t.data, bound)
    for (const [name, t] of want.updates)
      agree(`@${f.name} %${name}`, decode(t.type, right(await session.read(name)())), t.data, bound)
  }
  right(await session.close()())
}

const zero: Recipe = { _tag: 'fill', value: 0 }

/** A program of one equation whose operands are state, so that every dtype can be given. */
const single = (op: OpName, attrs: Attrs, args: ReadonlyArray<Tensor>): Program => {
  const state = args.map((a, i): State => ({
    name: `a${i}`,
    type: a.type,
    role: 'frozen',
    recipe: isEncoded(a.type.dtype)
      ? { _tag: isFourBit(a.type.dtype) ? 'nf4' : 'int8', of: zero }
      : zero,
  }))
  const b = builder()
  const outs = right(building(() => b.emit(op, attrs, ...state.map((s) => b.read(s)))))
  return {
    name: op,
    state,
    fns: [b.done({ name: op, outs: outs.map((id, i) => ({ name: `y${i}`, id })), updates: [] })],
  }
}

export const exampleSuite = (backend: Backend): void => {
  for (const op of opNames)
    test(`${backend.name}: ${op} does its examples`, async () => {
      for (const e of opOf(op).examples) {
        const args = e.args.map(tensorOf)
        const p = scheduled(single(op, e.attrs as Attrs, args))
        await compare(backend, p, (s) => args[Number(s.name.slice(1))]!, {}, 1e-5)
      }
    })
}

/** Several tiles, some columns with outliers of one row alone. */
const int8Products = async (backend: Backend): Promise<void> => {
  const [m, k, n] = [67, 130, 66]
  const w = tensor('int8', n, k)
  const stored = new Uint8Array(bytes(w))
  quantize(Float32Array.from(noise('w', n * k)), w, stored)
  const x = noise('x', m * k).map((v, i) => (i % 997 === 5 ? 20 * v + 9 : v))
  for (const [dtype, threshold] of [
    ['f32', 6],
    ['bf16', 6],
    ['f16', 0],
  ] as const) {
    const args: ReadonlyArray<Tensor> = [
      { type: tensor(dtype, m, k), data: x.map(round[dtype]) },
      { type: w, data: stored },
    ]
    const p = scheduled(single('int8Dot', { threshold }, args))
    const bound = { f32: 2e-6, bf16: 5e-3, f16: 6e-4 }[dtype]
    await compare(backend, p, (s) => args[Number(s.name.slice(1))]!, {}, bound)
  }
}

export const conformanceSuite = (backend: Backend): void => {
  exampleSuite(backend)
  test(`${backend.name}: random programs`, () =>
    fc.assert(
      fc.asyncProperty(continuous, fc.nat(1000), async (grown, seed) => {
        const p = scheduled(grown)
        const w = worldOf(seed)
        await compare(
          backend,
          p,
          (s) => stateTensor(w, s),
          feedsOf(p.fns[0]!, w),
          narrow(p) ? 3e-2 : 1e-4,
        )
      }),
      { numRuns: 60 },
    ))
  test(`${backend.name}: products of 8-bit integers with outliers`, () => int8Products(backend))
  test(`${backend.name}: dropout over a matrix as large as a micro-batch`, () =>
    largeDropout(backend))
  for (const o of longCases)
    test(`${backend.name}: attention over long packed rows, ${o.length} tokens, heads of ${o.d} in ${o.dtype}`, () =>
      longRows(backend, o))
  test(`${backend.name}: the steps of every optimizer`, () => everyOptimizer(backend, agree))
  modelSuite(backend, ['f32', 'bf16', 'f16', 'float8'])
}

/** The part of it whose kernels differ most between architectures. */
export const modelSuite = (backend: Backend, computes: ReadonlyArray<Compute>): void => {
  for (const compute of computes)
    for (const recompute of ['none', 'layers'] as const)
      test(`${backend.name}: a model in ${compute}, recompute ${recompute}: NF4, dropout, packing, two steps`, () =>
        trainTwoSteps(backend, compute, { _tag: recompute }))
}

/** More elements than a function call takes arguments. */
const largeDropout = async (backend: Backend): Promise<void> => {
  const type = tensor('f32', 1200, 256)
  const x: State = { name: 'x', type, role: 'frozen', recipe: { _tag: 'load', key: 'x' } }
  const fn = right(
    building(() => {
      const b = builder()
      const [seed, keys] = [b.input('seed', tensor('i32')), b.input('keys', tensor('i32', 1200))]
      const y = b.alg.dropout({ rate: 0.05, salt: 3 }, b.read(x), seed, keys)
      return b.done({ name: 'drop', outs: [{ name: 'y', id: y }], updates: [] })
    }),
  )
  const values = { type, data: new Float64Array(1200 * 256).fill(1) }
  const keys = Int32Array.from({ length: 1200 }, (_, i) => Math.imul(i - 600, 0x1234567))
  const p = scheduled({ name: 'drop', state: [x], fns: [fn] })
  await compare(backend, p, () => values, { seed: Int32Array.of(5), keys }, 1e-6)
}

/** Rows long enough for a backend to work in blocks, with segments that cross their borders. */
interface Long {
  readonly length: number
  /** Width of a head. */
  readonly d: number
  readonly dtype: Float
  /** In 16 bits weights and gradients of scores are rounded once more than the definition does. */
  readonly bound: number
}
const longCases: ReadonlyArray<Long> = [
  { length: 205, d: 4, dtype: 'f32', bound: 1e-5 },
  { length: 205, d: 128, dtype: 'bf16', bound: 1e-2 },
  { length: 260, d: 128, dtype: 'bf16', bound: 1e-2 },
  { length: 260, d: 64, dtype: 'f16', bound: 2e-3 },
]

const longRows = async (backend: Backend, { length, d, dtype, bound }: Long): Promise<void> => {
  const [rows, heads, kvHeads] = [2, 4, 2]
  const weight = (name: string, width: number): State => ({
    name,
    type: tensor(dtype, rows * length, width),
    role: 'frozen',
    recipe: { _tag: 'load', key: name },
  })
  const state = [
    weight('q', heads * d),
    weight('k', kvHeads * d),
    weight('v', kvHeads * d),
    weight('ct', heads * d),
  ]
  const fn = right(
    building(() => {
      const b = builder()
      const [q, k, v, ct] = state.map((s) => b.read(s)) as [Id, Id, Id, Id]
      const segments = b.input('segments', tensor('i32', rows, length))
      const h = { heads, kvHeads }
      const [out, lse] = b.alg.attention(h, q, k, v, segments)
      const grads = b.alg.attentionGrad(h, [q, k, v, segments, out, lse, ct])
      const outs = [out, lse, ...grads].map((id, i) => ({ name: `y${i}`, id }))
      return b.done({ name: 'long', outs, updates: [] })
    }),
  )
  const segments = Int32Array.from({ length: rows * length }, (_, i) =>
    Math.floor((i % length) / 47),
  )
  const w = worldOf(3)
  await compare(
    backend,
    scheduled({ name: 'long', state, fns: [fn] }),
    (s) => stateTensor(w, s),
    { segments },
    bound,
  )
}

export const grid = { rows: 2, length: 8 }

export const trained = (compute: Compute, recompute: Policy, hold?: string): Program =>
  right(
    compile(
      pipeline({
        lora: { r: 4, alpha: 8, dropout: 0.25, targets: ['q_proj', 'v_proj', 'down_proj'] },
        quantize: { block: 64, nested: 256 },
        compute,
        optimizer: { beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.1, decoupled: true, clip: 1 },
        recompute,
        ...(hold === undefined ? {} : { hold }),
      }),
    )(right(model('small', small, { ...grid, generate: null }))),
  ).program

export const small: ModelSpec = {
  ...plainSpec,
  vocab: 40,
  hidden: 64,
  intermediate: 48,
  layers: 2,
  heads: 4,
  headDim: 16,
  rope: { ...plainSpec.rope, dim: 16 },
}

/** Two samples in the first row, one and a tail in the second; some targets not scored. */
export const packedBatch = (micro: number): Feeds => {
  const n = grid.rows * grid.length
  const ids = Int32Array.from({ length: n }, (_, i) => (i * 7 + micro * 11) % small.vocab)
  return {
    tokens: ids,
    positions: Int32Array.of(0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2),
    segments: Int32Array.of(1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0),
    targets: ids.map((_, i) => (i % 3 === 0 || i > 12 ? -100 : ids[i + 1]!)),
    inverse_count: Float32Array.of(1 / 18),
    seed: Int32Array.of(41),
    keys: ids.map((_, i) => Math.imul(micro * n + i + 1, -0x61c88647)),
  }
}

/** A loss scale that no gradient here overflows: whether one does depends on how often a backend rounds. */
const SCALE = 256

const initial =
  (w: World) =>
  (s: State): Tensor =>
    s.role === 'scaler' && s.recipe._tag === 'fill' && s.recipe.value > 0
      ? { type: s.type, data: Float64Array.of(SCALE) }
      : stateTensor(w, s)

/** A handful of roundings to 8 or 11 bits, that a backend may do and the definition not. */
const roundings = { f32: 0, bf16: 2e-2, f16: 2.5e-3, float8: 2 ** -4 } as const

/**
 * In 16 bits a backend rounds as often as the definition does, and agrees with it; or less often, and is then not
 * farther from f32 arithmetic than half as much again as the definition is, and a few roundings.
 */
const near = (
  what: string,
  compute: Compute,
  bound: number,
  [got, typed, exact]: readonly [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>],
): void => {
  if (relativeError(got, typed) <= bound) return
  agree(what, got, exact, 1.5 * relativeError(typed, exact) + roundings[compute])
}

/** Runs the same micro-steps and updates on a backend, on the definition, and in 16 bits also on the definition in f32. */
const trainTwoSteps = async (
  backend: Backend,
  compute: Compute,
  recompute: Policy,
): Promise<void> => {
  const p = trained(compute, recompute)
  const exact = trained('f32', recompute)
  const w = worldOf(7)
  const sessions = [
    right(await backend.prepare(p)()),
    right(await reference.prepare(p)()),
    right(await reference.prepare(exact)()),
  ] as const
  // In 8 bits a value may fall to the other side by a rounding of another before it: half a step of e4m3.
  const bound = { f32: 1e-4, bf16: 6e-2, f16: 2e-2, float8: 2 ** -4 }[compute]
  const check = (what: string, all: ReadonlyArray<ArrayLike<number>>, times = 1): void =>
    compute === 'f32'
      ? agree(what, all[0]!, all[1]!, bound * times)
      : near(what, compute, bound * times, [all[0]!, all[1]!, all[2]!])
  for (const [i, s] of sessions.entries()) await load(s, (i === 2 ? exact : p).state, initial(w))
  const all = async (fn: string, feeds: Feeds, out: string) => {
    const got: Array<ArrayLike<number>> = []
    for (const s of sessions) got.push(right(await s.run(fn, feeds)())[out]!)
    return got
  }
  const compared = async (roles: ReadonlyArray<Role>) => {
    for (const s of exact.state.filter((x) => roles.includes(x.role))) {
      const got: Array<ArrayLike<number>> = []
      for (const x of sessions) got.push(decode(s.type, right(await x.read(s.name)())))
      check(s.name, got, 4)
    }
  }
  // In 16 bits the second step is not compared: Adam's first is the sign of each gradient, which rounding turns.
  for (const step of compute === 'f32' ? [1, 2] : [1]) {
    for (const micro of [0, 1])
      check(`loss ${step}.${micro}`, await all('micro', packedBatch(micro), 'loss'))
    await compared(['gradient'])
    const update = { lr: Float32Array.of(0.01), step: Float32Array.of(step) }
    check(`norm ${step}`, await all('update', update, 'grad_norm'))
    await compared(compute === 'f32' ? ['train', 'optimizer', 'gradient'] : ['gradient'])
  }
  for (const s of sessions) right(await s.close()())
}
