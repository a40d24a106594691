/** What must be true of programs and passes: pure predicates, paired with generators in the test files. */
import * as E from 'fp-ts/lib/Either.js'
import { evaluateFn, type Arithmetic } from '../ir/evaluate.ts'
import type { Fn, Id, Input, Program, Recipe, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { quantize, roundTrip } from '../ir/encoding.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { print } from '../ir/print.ts'
import { showReason } from '../ir/reason.ts'
import { bytes, isEncoded, size, type Plain, type TensorType } from '../ir/type.ts'
import { compile, type Pass } from '../passes/pass.ts'

export type Numbers = Float64Array | Uint8Array

/** The data a program runs on. State follows recipes, so one world serves before and after any pass. */
export interface World {
  readonly source: (key: string, count: number) => Float64Array
  readonly input: (i: Input) => Float64Array
}

/** Deterministic noise in (−1, 1) from a name and an index. */
export const unit = (name: string, index: number): number => {
  let h = 2166136261
  for (const c of `${name}:${index}`) h = Math.imul(h ^ c.charCodeAt(0), 16777619)
  h = Math.imul(h ^ (h >>> 15), 2246822519)
  h = Math.imul(h ^ (h >>> 13), 3266489917)
  h ^= h >>> 16
  return (((h >>> 0) + 0.5) / 2 ** 32) * 2 - 1
}

export const noise = (name: string, count: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.fround(unit(name, i)))

/** Integers valid for every table of at least two rows; segments grow along a row and positions restart with them. */
const integers = (seed: number, name: string, type: TensorType): Float64Array => {
  const columns = type.shape[1] ?? 1
  const starts = (i: number): boolean => i % columns === 0 || unit(`${seed}/cut`, i) > 0.4
  const at = (i: number): number => (starts(i) ? 0 : at(i - 1) + 1)
  const segment = (i: number): number =>
    i % columns === 0 ? 0 : Math.min(1, segment(i - 1) + (starts(i) ? 1 : 0))
  const one = (i: number): number =>
    name === 'positions'
      ? at(i)
      : name === 'segments'
        ? segment(i)
        : name === 'targets' && unit(`${seed}/scored`, i) > 0.3
          ? -100
          : Number(unit(`${seed}/${name}`, i) > 0)
  return Float64Array.from({ length: size(type) }, (_, i) => one(i))
}

export const worldOf = (seed: number): World => ({
  source: (key, count) => noise(`${seed}/${key}`, count),
  input: (i) =>
    i.type.dtype === 'i32'
      ? integers(seed, i.name, i.type)
      : noise(`${seed}/${i.name}`, size(i.type)).map(round[i.type.dtype as Plain]),
})

const recipeValues = (w: World, s: State, r: Recipe): Float64Array => {
  switch (r._tag) {
    case 'load':
      return w.source(r.key, size(s.type))
    case 'nf4':
    case 'int8':
      return recipeValues(w, s, r.of)
    case 'fill':
      return new Float64Array(size(s.type)).fill(r.value)
    case 'norms': {
      const inner = recipeValues(w, { ...s, type: r.type }, r.of)
      const { dtype } = r.type
      const x = isEncoded(dtype) ? roundTrip(r.type, Float32Array.from(inner)) : inner
      const width = r.type.shape[1]!
      return Float64Array.from({ length: r.type.shape[0]! }, (_, i) =>
        Math.hypot(...x.subarray(i * width, (i + 1) * width)),
      )
    }
    case 'kaiming':
    case 'normal':
    case 'orthogonal':
    case 'split':
      return w.source(s.name, size(s.type)).map((x) => Math.fround(x / 2))
  }
}

/** The contents of a state tensor before the first call; in real arithmetic floats are not rounded to its dtype. */
export const stateTensor = (w: World, s: State, arithmetic: Arithmetic = 'typed'): Tensor => {
  const values = recipeValues(w, s, s.recipe)
  if (!isEncoded(s.type.dtype))
    return {
      type: s.type,
      data: arithmetic === 'real' ? values : values.map(round[s.type.dtype as Plain]),
    }
  const data = new Uint8Array(bytes(s.type))
  quantize(Float32Array.from(values), s.type, data)
  return { type: s.type, data }
}

export type Named = { readonly [name: string]: Numbers }
export interface Result {
  readonly outs: Named
  /** Values of state that the function updates. */
  readonly updates: Named
}

/** Overrides by name, as carried from one call to the next. */
const initial = (
  p: Program,
  f: Fn,
  w: World,
  arithmetic: Arithmetic,
  carried: Named,
): Map<Id, Tensor> => {
  const states = stateOf(p)
  const given = new Map<Id, Tensor>(f.inputs.map((i) => [i.id, { type: i.type, data: w.input(i) }]))
  for (const r of f.reads) {
    const s = states.get(r.state)!
    const data = carried[s.name]
    given.set(r.id, data === undefined ? stateTensor(w, s, arithmetic) : { type: s.type, data })
  }
  return given
}

/** Runs a function by the evaluators alone, no arena. */
export const run = (
  p: Program,
  w: World,
  fn = 'step',
  arithmetic: Arithmetic = 'typed',
  carried: Named = {},
): Result => {
  const f = p.fns.find((g) => g.name === fn)!
  const env = evaluateFn(f, initial(p, f, w, arithmetic, carried), arithmetic)
  const data = (id: Id): Numbers => env.get(id)!.data
  return {
    outs: Object.fromEntries(f.outs.map((o) => [o.name, data(o.id)])),
    updates: Object.fromEntries(f.updates.map((u) => [u.state, data(u.id)])),
  }
}

/** Runs passes, or throws what went wrong with the program it went wrong on. */
export const through =
  (...passes: ReadonlyArray<Pass>) =>
  (p: Program): Program => {
    const r = compile(passes)(p)
    if (E.isLeft(r))
      throw new Error(`${r.left.pass}: ${showReason(r.left.reason)}\n${print(r.left.program)}`)
    return r.right.program
  }

export const sameBits = (a: Numbers, b: Numbers): boolean =>
  a.length === b.length && a.every((x, i) => Object.is(x, b[i]))

export const close =
  (relative: number, absolute: number = relative) =>
  (a: Numbers, b: Numbers): boolean =>
    a.length === b.length &&
    a.every((x, i) => {
      const y = b[i]!
      return (
        Object.is(x, y) ||
        Math.abs(x - y) <= absolute + relative * Math.max(Math.abs(x), Math.abs(y))
      )
    })

/** Whether two results agree under all names that the first one has. */
export const agree = (eq: (a: Numbers, b: Numbers) => boolean, a: Named, b: Named): boolean =>
  Object.entries(a).every(([name, x]) => b[name] !== undefined && eq(x, b[name]))

/** A pass keeps every output and every update of every function. */
export const preserves =
  (eq: (a: Numbers, b: Numbers) => boolean, ...passes: ReadonlyArray<Pass>) =>
  (p: Program, w: World): boolean => {
    const q = through(...passes)(p)
    return p.fns.every((f) => {
      const [x, y] = [run(p, w, f.name), run(q, w, f.name)]
      return agree(eq, x.outs, y.outs) && agree(eq, x.updates, y.updates)
    })
  }

export const idempotent =
  (pass: Pass) =>
  (p: Program): boolean =>
    print(through(pass, pass)(p)) === print(through(pass)(p))

export const commute =
  (a: Pass, b: Pass) =>
  (p: Program): boolean =>
    print(through(a, b)(p)) === print(through(b, a)(p))

export const equations = (p: Program): number => p.fns.reduce((n, f) => n + f.eqns.length, 0)
export const neverGrows =
  (pass: Pass) =>
  (p: Program): boolean =>
    equations(through(pass)(p)) <= equations(p)
