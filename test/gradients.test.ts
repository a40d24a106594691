/** Every gradient rule against central differences in f64; gradient ops are checked along with it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { algebra } from '../ir/algebra.ts'
import { evaluateEqn } from '../ir/evaluate.ts'
import type { Attrs } from '../ir/graph.ts'
import type { Tensor } from '../ir/op.ts'
import { opNames, opOf, type OpName } from '../ir/ops/index.ts'
import { isFloat, show, size, tensor, type TensorType } from '../ir/type.ts'
import { fits, variants } from './arbitrary.ts'
import { holds } from './fc.ts'
import { sameBits, unit } from './laws.ts'
import { equation, infer, tensorOf } from './op-cases.ts'

/** A gradient rule evaluated at once, in f64. */
const immediate = algebra<Tensor>(
  (op, attrs, ...args) => {
    const types = infer(
      op,
      attrs,
      args.map((a) => a.type),
    )
    if (E.isLeft(types)) throw new Error(`${op}: ${types.left}`)
    return evaluateEqn(equation(op, attrs, types.right), args, 'real')
  },
  (t) => t.type,
)
const shapes: ReadonlyArray<TensorType> = [
  tensor('f32'),
  tensor('f32', 4),
  tensor('f32', 6),
  tensor('f32', 6, 4),
  tensor('f32', 6, 2),
  tensor('f32', 6, 1),
  tensor('f32', 3, 4),
  tensor('f32', 4, 3),
  tensor('f32', 3, 6),
  tensor('i32', 2, 3),
  tensor('i32'),
  tensor('i32', 6),
]
/** Two segments in the first row, one token unscored; floats positive where an op needs it. */
const point = (name: OpName, i: number, type: TensorType): Tensor => {
  const positive = ['sqrt', 'reciprocal', 'logOdds'].includes(name)
  const data = Float64Array.from({ length: size(type) }, (_, k) => {
    const u = unit(`${name}.${i}`, k)
    if (isFloat(type.dtype)) return positive ? 1 + u / 2 : u
    return name === 'attention'
      ? [1, 1, 2, 1, 1, 1][k]!
      : k === 4 && name.startsWith('linear')
        ? -100
        : k % 3
  })
  return { type, data }
}
const EPS = 1e-6
const inner = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((s, x, i) => s + x * b[i]!, 0)

/** The number of arguments whose gradient was compared. */
const checkGradient = (name: OpName, attrs: Attrs, types: ReadonlyArray<TensorType>): number => {
  const args = types.map((t, i) => point(name, i, t))
  const outTypes = E.getOrElse((): ReadonlyArray<TensorType> => [])(infer(name, attrs, types))
  const forward = (at: ReadonlyArray<Tensor>) =>
    evaluateEqn(equation(name, attrs, outTypes), at, 'real')
  const outs = forward(args)
  const ct = outs.map((o, i) => ({ ...o, data: o.data.map((_, k) => unit(`ct${i}`, k)) }))
  let compared = 0
  // A rule either answers for all results that have cotangents or refuses by null.
  for (const used of outs.length === 1
    ? [[true]]
    : [
        [true, false],
        [false, true],
        [true, true],
      ]) {
    const cts = ct.map((c, i) => (used[i] === true ? c : null))
    const flow = opOf(name).vjp!({ alg: immediate, attrs, args, types, outs, cts })
    const goal = (at: ReadonlyArray<Tensor>): number =>
      forward(at).reduce((s, o, i) => (used[i] === true ? s + inner(o.data, ct[i]!.data) : s), 0)
    flow.forEach((make, i) => {
      if (make === null) return
      const got = make()
      assert.deepEqual(got.type, types[i], `type of the gradient of ${name} by argument ${i}`)
      got.data.forEach((g, k) => {
        const moved = (d: number) =>
          args.map((a, j) =>
            j === i ? { ...a, data: a.data.map((x, l) => (l === k ? x + d : x)) } : a,
          )
        const slope = (goal(moved(EPS)) - goal(moved(-EPS))) / (2 * EPS)
        holds(
          Math.abs(g - slope) <= 1e-6 * Math.max(1, Math.abs(slope)),
          `${name}(${types.map(show).join(', ')}) by argument ${i}[${k}]: ${g}, differences give ${slope}`,
        )
      })
      compared++
    })
  }
  return compared
}

/** Ops whose operands hold no floats to differentiate by. */
const constant: ReadonlyArray<OpName> = ['fill', 'ropeTable', 'dequantize']
/** Ops that round inside: steps, through which the gradient is passed straight (`float8.test.ts`, `int8.test.ts`). */
const steps: ReadonlyArray<OpName> = ['float8Dot', 'int8Dot']
for (const name of opNames.filter(
  (n) => opOf(n).vjp !== null && !constant.includes(n) && !steps.includes(n),
))
  test(`${name}: the gradient is the limit of central differences`, () => {
    const compared = variants(name).map((attrs) => {
      const all = fits(name, attrs, shapes)
      const some = all.filter((_, i) => i % Math.ceil(all.length / 12) === 0)
      return some.reduce((n, types) => n + checkGradient(name, attrs, types), 0)
    })
    holds(
      compared.some((n) => n > 0),
      'no operand types were found for it',
    )
  })

test('constants: nothing flows into them', () => {
  for (const name of constant) {
    const args = opOf(name).examples[0]!.args.map(tensorOf)
    const ct = opOf(name).examples[0]!.outs.map(tensorOf)
    const flow = opOf(name).vjp!({
      alg: immediate,
      attrs: opOf(name).examples[0]!.attrs,
      args,
      types: args.map((a) => a.type),
      outs: ct,
      cts: ct,
    })
    holds(flow.every((f) => f === null))
  }
})

test('casting rounds, and its gradient has the dtype that was cast', () => {
  const x: Tensor = { type: tensor('f32', 2), data: Float64Array.of(1.00390625, 70000) }
  const [half] = evaluateEqn(equation('cast', { to: 'f16' }, [tensor('f16', 2)]), [x], 'typed')
  holds(sameBits(half!.data, Float64Array.of(1.00390625, Infinity)))
  const flow = opOf('cast').vjp!({
    alg: immediate,
    attrs: { to: 'f16' },
    args: [x],
    types: [x.type],
    outs: [half!],
    cts: [half!],
  })
  assert.deepEqual(flow[0]!().type, x.type)
})
