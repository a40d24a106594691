/** Every op: its examples, its typing rule against its evaluator, its gradient against central differences. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { builder, building } from '../ir/build.ts'
import { evaluateEqn } from '../ir/evaluate.ts'
import type { Attrs } from '../ir/graph.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { opNames, opOf, type OpName } from '../ir/ops/index.ts'
import { showReason } from '../ir/reason.ts'
import { bytes, isEncoded, isFloat, show, size, tensor, type TensorType } from '../ir/type.ts'
import { fits, variants } from './arbitrary.ts'
import { holds } from './fc.ts'
import { unit } from './laws.ts'
import { equation, infer, tensorOf, typeOf } from './op-cases.ts'

for (const name of opNames)
  test(`${name}: examples hold exactly`, () => {
    const { examples, arity } = opOf(name)
    holds(examples.length > 0)
    for (const x of examples) {
      const [args, outs] = [x.args.map(tensorOf), x.outs.map(tensorOf)]
      assert.equal(args.length, arity)
      const types = args.map((a) => a.type)
      const typed = infer(name, x.attrs, types)
      assert.deepEqual(typed, E.right(outs.map((o) => o.type)))
      holds(opOf(name).attrs.is(x.attrs))
      const got = evaluateEqn(
        equation(
          name,
          x.attrs as Attrs,
          outs.map((o) => o.type),
        ),
        args,
        'typed',
      )
      assert.deepEqual(
        got.map((g) => [...g.data]),
        outs.map((o) => [...o.data]),
      )
    }
  })

/** Shapes of every rank that occurs and some that do not, over all kinds of dtype. */
const zoo: ReadonlyArray<TensorType> = [
  tensor('f32'),
  tensor('bool'),
  tensor('i32'),
  tensor('f32', 2),
  tensor('i32', 2),
  tensor('f32', 4),
  tensor('f32', 2, 2),
  tensor('f32', 4, 2),
  tensor('f32', 4, 4),
  tensor('f32', 4, 1),
  tensor('bf16', 4, 4),
  tensor('i32', 2, 2),
  tensor('i32', 1, 4),
  tensor('f32', 2, 4, 2),
  tensor('f32', 2, 2, 2),
  tensor('i32', 2, 2, 2),
  tensor('nf4/64', 4, 4),
]
/** Benign data: floats away from zero, integers that index the first two rows. */
const benign = (name: string, type: TensorType): Tensor => ({
  type,
  data: isEncoded(type.dtype)
    ? new Uint8Array(bytes(type)).fill(64)
    : Float64Array.from({ length: size(type) }, (_, i) =>
        isFloat(type.dtype)
          ? round[type.dtype](0.75 + unit(name, i) / 2)
          : Number(unit(name, i) > 0),
      ),
})
/** Operand types tried for an op: all of the zoo, and for ops of many operands what shares a family with an example. */
const tried = (arity: number): ReadonlyArray<TensorType> =>
  arity <= 3
    ? zoo
    : arity === 4
      ? zoo.filter((t) => t.dtype === 'f32' || t.dtype === 'i32').filter((t) => t.shape.length > 1)
      : [tensor('f32', 4), tensor('f32', 4, 2), tensor('f32', 4, 1), tensor('i32', 2, 2)]
/** Too many operands to try all types of; its family's typing is tried through `attention`. */
const MANY = 7

for (const name of opNames)
  test(`${name}: what the typing rule accepts can be computed, and has the types it says`, () => {
    const { arity, evaluate } = opOf(name)
    for (const attrs of variants(name))
      for (const types of arity < MANY ? fits(name, attrs, tried(arity)) : []) {
        const outs = infer(name, attrs, types)
        holds(E.isRight(outs))
        for (const t of outs.right) holds(t.shape.every((d) => Number.isSafeInteger(d) && d >= 0))
        const got = evaluate(
          attrs,
          types.map((t, i) => benign(`${i}`, t)),
          outs.right,
        )
        const at = `${name}(${types.map(show).join(', ')})`
        assert.deepEqual(
          got.map((g) => g.length),
          outs.right.map(size),
          at,
        )
        holds(
          got.every((g) => g.every((x) => !Number.isNaN(x))),
          at,
        )
      }
  })

for (const name of opNames)
  test(`${name}: operands that do not fit are refused by a message with their types`, () => {
    const { arity, examples } = opOf(name)
    const x = examples[0]!
    const types = x.args.map(([text]) => typeOf(text))
    const refused = types.flatMap((t, i) =>
      [tensor('u8', ...t.shape), tensor('nf4/32', 7), tensor('i8', 3, 3, 3, 3)].map((odd) =>
        types.map((u, k) => (k === i ? odd : u)),
      ),
    )
    for (const args of refused.filter((r) => r.some((t, i) => show(t) !== show(types[i]!)))) {
      const b = builder()
      const made = building(() =>
        b.emit(name, x.attrs as Attrs, ...args.map((t, i) => b.input(`a${i}`, t))),
      )
      // Any encoding will do for it.
      if (name === 'dequantize' && isEncoded(args[0]!.dtype)) continue
      holds(E.isLeft(made), `${name} accepts ${args.map(show).join(', ')}`)
      const message = showReason(made.left)
      for (const a of args) holds(message.includes(show(a)), message)
    }
    const b = builder()
    const short = building(() =>
      b.emit(
        name,
        x.attrs as Attrs,
        ...[...types, types[0] ?? tensor('f32')].map((t, i) => b.input(`a${i}`, t)),
      ),
    )
    holds(E.isLeft(short))
    assert.match(showReason(short.left), new RegExp(`takes ${arity} operands`))
  })

test('messages of the common mistakes name both shapes', () => {
  const table: ReadonlyArray<readonly [OpName, Attrs, ReadonlyArray<string>, RegExp]> = [
    [
      'dot',
      { ta: false, tb: false },
      ['f32[2, 3]', 'f32[4, 5]'],
      /contracts 3 with 4: f32\[2, 3\] and f32\[4, 5\]/,
    ],
    ['dot', { ta: false, tb: true }, ['f32[2, 3]', 'bf16[4, 3]'], /f32\[2, 3\] and bf16\[4, 3\]/],
    ['add', {}, ['f32[2]', 'f32[3]'], /differ: f32\[2\] and f32\[3\]/],
    ['addRow', {}, ['f32[2, 3]', 'f32[2]'], /f32\[2, 3\] and f32\[2\]/],
    ['rmsNorm', { eps: 0 }, ['f32[2, 3]', 'f32[2]'], /needs a weight f32\[3\], got f32\[2\]/],
    [
      'attention',
      { heads: 3, kvHeads: 2 },
      ['f32[4, 6]', 'f32[4, 4]', 'f32[4, 4]', 'i32[2, 2]'],
      /3 heads in 2 groups/,
    ],
    [
      'attention',
      { heads: 2, kvHeads: 1 },
      ['f32[4, 4]', 'f32[4, 4]', 'f32[4, 4]', 'i32[2, 2]'],
      /f32\[4, 4\] in 2 heads/,
    ],
    [
      'attention',
      { heads: 1, kvHeads: 1 },
      ['f32[4, 4]', 'f32[4, 4]', 'f32[4, 4]', 'i32[2, 3]'],
      /segments i32\[2, 3\]/,
    ],
    ['rope', { inverse: false }, ['f32[2, 6]', 'f32[2, 2]', 'f32[2, 2]'], /whole heads of 4/],
    [
      'linearCrossEntropy',
      {},
      ['f32[2, 3]', 'f32[5, 4]', 'i32[1, 2]'],
      /f32\[2, 3\] and vocabulary f32\[5, 4\]/,
    ],
    ['linearCrossEntropy', {}, ['f32[2, 3]', 'f32[5, 3]', 'i32[1, 3]'], /targets i32\[1, 3\]/],
    ['cacheWrite', {}, ['f32[1, 3, 2]', 'f32[1, 4]', 'i32[1, 1]'], /f32\[1, 4\]/],
    ['select', {}, ['bool[]', 'f32[2]', 'f32[3]'], /f32\[2\] and f32\[3\]/],
    ['dropout', { rate: 1, salt: 0 }, ['f32[2, 1]', 'i32[]', 'i32[2]'], /rate 1/],
    ['dropout', { rate: 0.5, salt: 0 }, ['f32[2, 1]', 'i32[]', 'i32[1]'], /keys i32\[N\]/],
    [
      'ropeTable',
      { dim: 3, theta: 1, factor: 1, lowFreqFactor: 0, highFreqFactor: 0, originalContext: 0 },
      ['i32[1, 2]'],
      /even head dimension, got 3/,
    ],
  ]
  for (const [name, attrs, types, pattern] of table) {
    const typed = infer(name, attrs, types.map(typeOf))
    holds(E.isLeft(typed), name)
    assert.match(typed.left, pattern)
  }
})
