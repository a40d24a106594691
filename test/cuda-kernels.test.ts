/** The CUDA kernels, run on a CPU by fibers, against each op's definition. */
import { describe, test } from 'node:test'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { tensor, type Float, type Plain, type TensorType } from '../ir/type.ts'
import type { Attrs } from '../ir/graph.ts'
import type { OpName } from '../ir/ops/index.ts'
import * as card from '../backends/cuda/kernels/elementwise.ts'
import * as norm from '../backends/cuda/kernels/norm.ts'
import * as reduce from '../backends/cuda/kernels/reduce.ts'
import * as ropes from '../backends/cuda/kernels/rope.ts'
import type { KernelLaunch } from '../backends/cuda/launch.ts'
import { close, makeArena, type Arena, type Held } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { apply, t } from './op-cases.ts'
import assert from 'node:assert/strict'

const floats: ReadonlyArray<Float> = ['f32', 'bf16', 'f16']
const { ints, normal } = generator(7)

/** Rows, columns, gap between rows, shift from 16-byte alignment. */
const layouts = [
  [1, 1, 0, 0],
  [3, 8, 0, 0],
  [5, 19, 0, 1],
  [4, 24, 8, 0],
  [3, 37, 3, 1],
  [2, 2600, 0, 0],
] as const

interface Case {
  readonly op: OpName
  readonly attrs?: Attrs
  readonly args: (dtype: Float, rows: number, width: number) => ReadonlyArray<Tensor>
  readonly launch: (o: {
    readonly args: ReadonlyArray<Held>
    readonly outs: ReadonlyArray<Held>
    readonly rows: number
    readonly width: number
    readonly dtype: Float
    readonly arena: Arena
  }) => KernelLaunch | ReadonlyArray<KernelLaunch>
  readonly outTypes?: (dtype: Float, rows: number, width: number) => ReadonlyArray<TensorType>
  /** Results that are written over these operands in a second run. */
  readonly over?: ReadonlyArray<number>
  /** More of f32's rounding than one operation makes. */
  readonly slack?: number
}
const matrices =
  (n: number) =>
  (dtype: Float, rows: number, width: number): ReadonlyArray<Tensor> =>
    Array.from({ length: n }, () => normal(tensor(dtype, rows, width)))

const check = (c: Case): void => {
  for (const dtype of floats)
    for (const [rows, width, gap, shift] of layouts)
      for (const over of [[], ...(c.over === undefined ? [] : [c.over])]) {
        const arena = makeArena()
        const args = c.args(dtype, rows, width)
        const want = apply(c.op, c.attrs ?? {}, ...args)
        const held = args.map((a) => arena.put(a, a.type.shape.length > 1 ? gap : 0, shift))
        const types = c.outTypes?.(dtype, rows, width) ?? want.map((w) => w.type)
        const outs = types.map((type, i) =>
          over[i] === undefined
            ? arena.out(type, type.shape.length > 1 ? gap : 0, shift)
            : arena.mayWrite(held[over[i]]!),
        )
        arena.run(c.launch({ args: held, outs, rows, width, dtype, arena }))
        outs.forEach((o, i) =>
          close(
            `${c.op} ${dtype} ${rows}×${width}+${gap}`,
            arena.get(o),
            want[i]!.data,
            o.type.dtype as Plain,
            c.slack,
          ),
        )
      }
}

type Unary = (o: card.Unary) => KernelLaunch
const unary = (op: OpName, make: Unary, attrs: Attrs = {}): Case => ({
  op,
  attrs,
  args: (dtype, rows, width) => {
    const x = normal(tensor(dtype, rows, width))
    return [op === 'sqrt' || op === 'logOdds' ? t(x.type, x.data.map(Math.abs)) : x]
  },
  launch: ({ args: [a], outs: [out], ...o }) => make({ a: a!, out: out!, ...o }),
  over: [0],
})
const binary = (op: OpName, make: (o: card.Binary) => KernelLaunch): Case => ({
  op,
  args: matrices(2),
  launch: ({ args: [a, b], outs: [out], ...o }) => make({ a: a!, b: b!, out: out!, ...o }),
  over: [0],
})
const scalarOf = (dtype: Plain, x: number): Tensor => t({ dtype, shape: [] }, [round[dtype](x)])

const cases: ReadonlyArray<Case> = [
  binary('add', card.add),
  binary('sub', card.sub),
  binary('mul', card.mul),
  unary('scale', (o) => card.scale({ ...o, by: -0.375 }), { by: -0.375 }),
  unary('reciprocal', card.reciprocal),
  unary('sqrt', card.sqrt),
  unary('sigmoid', card.sigmoid),
  unary('softplus', card.softplus),
  unary('logOdds', card.logOdds),
  unary('positive', card.positive),
  {
    op: 'scaleBy',
    args: (d, r, w) => [...matrices(1)(d, r, w), scalarOf('f32', 0.3)],
    launch: ({ args: [a, by], outs: [out], ...o }) =>
      card.scaleBy({ a: a!, out: out!, by: by!.offset, ...o }),
    over: [0],
  },
  {
    op: 'addRow',
    args: (d, r, w) => [...matrices(1)(d, r, w), normal(tensor(d, w))],
    launch: ({ args: [a, b], outs: [out], ...o }) =>
      card.addRow({ a: a!, b: b!.offset, out: out!, ...o }),
    over: [0],
  },
  {
    op: 'swiglu',
    args: matrices(2),
    launch: ({ args: [gate, up], outs: [out], ...o }) =>
      card.swiglu({ gate: gate!, up: up!, out: out!, ...o }),
    over: [0],
  },
  {
    op: 'swigluGrad',
    args: matrices(3),
    launch: ({ args: [gate, up, ct], outs: [dgate, dup], ...o }) =>
      card.swigluGrad({ gate: gate!, up: up!, ct: ct!, dgate: dgate!, dup: dup!, ...o }),
    over: [0, 1],
  },
  {
    op: 'dropout',
    attrs: { rate: 0.3, salt: 12345 },
    args: (d, r, w) => [
      normal(tensor(d, r, w)),
      scalarOf('i32', -77),
      ints(tensor('i32', r), -(2 ** 31), 2 ** 31),
    ],
    launch: ({ args: [a, seed, keys], outs: [out], ...o }) =>
      card.dropout({
        a: a!,
        out: out!,
        seed: seed!.offset,
        keys: keys!.offset,
        rate: 0.3,
        salt: 12345,
        ...o,
      }),
    over: [0],
  },
  {
    op: 'takeRows',
    args: (d, r, w) => [normal(tensor(d, 7, w)), ints(tensor('i32', r), 0, 7)],
    launch: ({ args: [table, index], outs: [out], ...o }) =>
      card.gather({ table: table!, index: index!.offset, out: out!, ...o }),
  },
  {
    op: 'select',
    args: (d, r, w) => [scalarOf('bool', w % 2), ...matrices(2)(d, r, w)],
    launch: ({ args: [c, a, b], outs: [out], ...o }) =>
      card.select({ condition: c!.offset, a: a!, b: b!, out: out!, ...o }),
  },
  {
    op: 'rmsNorm',
    attrs: { eps: 1e-5 },
    args: (d, r, w) => [normal(tensor(d, r, w)), normal(tensor(d, w))],
    launch: ({ args: [x, w], outs: [out], ...o }) =>
      norm.rmsNorm({ x: x!, w: w!.offset, out: out!, eps: 1e-5, ...o }),
    over: [0],
  },
  {
    op: 'rmsNormGrad',
    attrs: { eps: 1e-5 },
    args: (d, r, w) => [normal(tensor(d, r, w)), normal(tensor(d, w)), normal(tensor(d, r, w))],
    launch: ({ args: [x, w, ct], outs: [out], ...o }) =>
      norm.rmsNormGrad({ x: x!, w: w!.offset, ct: ct!, out: out!, eps: 1e-5, ...o }),
    over: [2],
    slack: 2e-5,
  },
  {
    op: 'rmsNormWeightGrad',
    attrs: { eps: 1e-5 },
    args: (d, r, w) => [normal(tensor(d, r, w)), normal(tensor(d, w)), normal(tensor(d, r, w))],
    launch: ({ args: [x, , ct], outs: [out], arena, ...o }) =>
      norm.rmsNormWeightGrad({
        x: x!,
        ct: ct!,
        out: out!.offset,
        eps: 1e-5,
        workspace: arena.scratch(norm.rmsNormWeightGradWorkspaceBytes(o.rows)),
        ...o,
      }),
  },
  {
    op: 'sumRows',
    args: matrices(1),
    launch: ({ args: [a], outs: [out], ...o }) => reduce.sumRows({ a: a!, out: out!.offset, ...o }),
  },
  ...Object.entries({ sum: reduce.sum, sumSquares: reduce.sumSquares } as const).map(
    ([op, make]): Case => ({
      op: op as OpName,
      args: matrices(1),
      launch: ({ args: [a], outs: [out], arena, ...o }) =>
        make({
          parts: [{ a: a!, ...o }],
          out: out!.offset,
          workspace: arena.scratch(reduce.reduceWorkspaceBytes([o])),
        }),
      slack: 1e-4,
    }),
  ),
  {
    op: 'embedGrad',
    attrs: { vocab: 6 },
    args: (d, r, w) => [ints(tensor('i32', 1, 90 * r), 0, 5), normal(tensor(d, 90 * r, w))],
    launch: ({ args: [ids, ct], outs: [out], rows, ...o }) =>
      reduce.embedGrad({
        ids: ids!.offset,
        ct: ct!,
        out: out!,
        tokens: 90 * rows,
        vocab: 6,
        ...o,
      }),
  },
]

describe('kernels on fibers', { skip: noCompiler }, () => {
  for (const c of cases) test(c.op, () => check(c))

  test('cast', () => {
    for (const from of floats)
      for (const to of floats)
        for (const [rows, width, gap, shift] of layouts) {
          const arena = makeArena()
          const x = normal(tensor(from, rows, width), from === 'f16' ? 1 : 1e3)
          const [a, out] = [arena.put(x, gap, shift), arena.out(tensor(to, rows, width), gap)]
          arena.run(card.cast({ a, out, rows, width, from, to }))
          assert.deepEqual(arena.get(out), x.data.map(round[to]), `${from} to ${to}`)
        }
  })

  test('fill and spread', () => {
    for (const dtype of ['f32', 'bf16', 'f16', 'i32', 'i8', 'u8', 'bool'] as const)
      for (const value of [0, 1, -3.7, 1000.4])
        for (const [rows, width, gap] of layouts) {
          const arena = makeArena()
          const out = arena.out(tensor(dtype, rows, width), gap)
          arena.run(card.fill({ out, rows, width, dtype, value }))
          const want = round[dtype](value)
          assert.ok(
            arena.get(out).every((x) => x === want),
            `${dtype} ${value}`,
          )
        }
    for (const dtype of floats) {
      const arena = makeArena()
      const value = arena.put(scalarOf(dtype, 0.7)).offset
      const out = arena.out(tensor(dtype, 3, 21), 2)
      arena.run(card.spread({ value, out, rows: 3, width: 21, dtype }))
      assert.ok(arena.get(out).every((x) => x === round[dtype](0.7)))
    }
  })

  test('isFinite over several parts', () => {
    for (const dtype of floats)
      for (const bad of [null, Infinity, -Infinity, NaN])
        for (const at of [0, 130]) {
          const arena = makeArena()
          const xs = [normal(tensor(dtype, 3, 37)), normal(tensor(dtype, 1, 131))]
          if (bad !== null) (xs[at === 0 ? 0 : 1]!.data as Float64Array)[at] = bad
          const parts = xs.map((x, i) => {
            const [rows, width] = x.type.shape as [number, number]
            return { a: arena.put(x, i === 0 ? 5 : 0), rows, width, dtype }
          })
          const out = arena.out(tensor('bool', 1))
          const workspace = arena.scratch(reduce.reduceWorkspaceBytes(parts))
          arena.run(reduce.isFinite({ parts, out: out.offset, workspace }))
          assert.deepEqual([...arena.get(out)], [bad === null ? 1 : 0])
        }
  })

  test('RMSNorm with a residual on either side', () => {
    for (const dtype of floats)
      for (const [rows, width, gap] of [...layouts, [2, 8200, 8, 0] as const]) {
        const arena = makeArena()
        const type = tensor(dtype, rows, width)
        const [a, b, ct, plus] = [normal(type), normal(type), normal(type), normal(type)]
        const w = normal(tensor(dtype, width))
        const x = t(
          type,
          a.data.map((v, i) => round[dtype](v + b.data[i]!)),
        )
        const held = [a, b, ct, plus].map((v) => arena.put(v, gap)) as [Held, Held, Held, Held]
        const weight = arena.put(w).offset
        const [sum, y, dx] = [arena.out(type, gap), arena.out(type, gap), arena.out(type, gap)]
        const shared = { rows, width, dtype, eps: 1e-6, w: weight }
        arena.run([
          norm.rmsNorm({ x: held[0], residual: held[1], sum, out: y, ...shared }),
          norm.rmsNormGrad({ x: sum, ct: held[2], residual: held[3], out: dx, ...shared }),
        ])
        assert.deepEqual(arena.get(sum), x.data)
        close('y', arena.get(y), apply('rmsNorm', { eps: 1e-6 }, x, w)[0]!.data, dtype)
        const grad = apply('rmsNormGrad', { eps: 1e-6 }, x, w, ct)[0]!.data
        const want = grad.map((g, i) => g + plus.data[i]!)
        close('dx', arena.get(dx), want, dtype, 2e-5)
      }
  })

  test('rope tables far out, both scalings', () => {
    const plain = { dim: 20, theta: 10000, factor: 1, lowFreqFactor: 0, highFreqFactor: 0 }
    const llama3 = { dim: 20, theta: 5e5, factor: 8, lowFreqFactor: 1, highFreqFactor: 4 }
    for (const rope of [plain, llama3].map((r) => ({ ...r, originalContext: 8192 }))) {
      const arena = makeArena()
      const p = ints(tensor('i32', 1, 37), 0, 100001)
      const positions = arena.put(p).offset
      const [cos, sin] = [arena.out(tensor('f32', 37, 10)), arena.out(tensor('f32', 37, 10))]
      arena.run(ropes.ropeTable({ positions, cos: cos.offset, sin: sin.offset, rows: 37, rope }))
      const want = apply('ropeTable', rope, p)
      close('cos', arena.get(cos), want[0]!.data, 'f32', 1e-7)
      close('sin', arena.get(sin), want[1]!.data, 'f32', 1e-7)
    }
  })

  test('rope of queries and keys in one launch, in place, and back', () => {
    for (const dtype of floats)
      for (const [dim, rows, gap] of [
        [64, 5, 8],
        [10, 3, 1],
        [2, 1, 0],
      ] as const)
        for (const inverse of [false, true]) {
          const arena = makeArena()
          const [q, k] = [
            normal(tensor(dtype, rows, 4 * dim)),
            normal(tensor(dtype, rows, 2 * dim)),
          ]
          const [c, s] = [
            normal(tensor('f32', rows, dim / 2)),
            normal(tensor('f32', rows, dim / 2)),
          ]
          const x = arena.mayWrite(arena.put(q, gap))
          const [y, out] = [arena.put(k, gap), arena.out(k.type)]
          const [cos, sin] = [arena.put(c).offset, arena.put(s).offset]
          const also = { x: y, out, heads: 2 }
          arena.run(ropes.rope({ x, out: x, heads: 4, also, cos, sin, rows, dim, inverse, dtype }))
          close('q', arena.get(x), apply('rope', { inverse }, q, c, s)[0]!.data, dtype)
          close('k', arena.get(out), apply('rope', { inverse }, k, c, s)[0]!.data, dtype)
        }
  })
})
