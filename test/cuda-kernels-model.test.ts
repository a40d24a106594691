/** The CUDA kernels of loss, NF4, products and the update, run on a CPU by fibers, against each op's definition. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as products from '../backends/cuda/kernels/dot.ts'
import * as loss from '../backends/cuda/kernels/loss.ts'
import * as nf4 from '../backends/cuda/kernels/nf4.ts'
import * as optim from '../backends/cuda/kernels/optim.ts'
import { dequantize, quantize } from '../ir/nf4.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { bytes, scalar, tensor, type DType, type Float, type TensorType } from '../ir/type.ts'
import { close, makeArena } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { apply, t } from './op-cases.ts'

const floats: ReadonlyArray<Float> = ['f32', 'bf16', 'f16']
const { ints, normal } = generator(11)

describe('kernels of models on fibers', { skip: noCompiler }, () => {
  // With the identity as vocabulary, hidden rows are their own logits.
  const identity = (dtype: Float, n: number): Tensor =>
    t(
      tensor(dtype, n, n),
      new Float64Array(n * n).map((_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    )
  for (const dtype of floats)
    test(`cross-entropy ${dtype}`, () => {
      for (const [rows, width, gap] of [
        [3, 9, 0],
        [2, 203, 5],
        [2, 64, 8],
      ] as const)
        for (const registers of [true, false])
          for (const each of [true, false]) {
            const arena = makeArena()
            const x = normal(tensor(dtype, rows, width), 4)
            const targets = ints(tensor('i32', 1, rows), 0, width)
            targets.data[1] = -100
            const ct = normal(tensor('f32', rows))
            if (!each) ct.data.fill(ct.data[0]!)
            const w = identity(dtype, width)
            const [nll, lse] = apply('linearCrossEntropy', {}, x, w, targets)
            const [dx] = apply('linearCrossEntropyGrad', {}, x, w, targets, lse!, ct)
            const logits = arena.mayWrite(arena.put(x, gap))
            const kept = arena.put(x, gap)
            const outs = [arena.out(ct.type), arena.out(ct.type)] as const
            const wide = arena.out(tensor('f32', rows, width), gap)
            const o = { rows, width, dtype, targets: arena.put(targets).offset }
            const weight = { offset: arena.put(ct).offset, each }
            const fused = loss.crossEntropy({
              ...o,
              logits,
              nll: outs[0].offset,
              lse: outs[1].offset,
              grad: { ct: weight, out: logits, dtype },
            })
            const { defines } = fused.kernel
            const again = {
              ...fused,
              kernel: { ...fused.kernel, defines: { ...defines, CE_N: 0 } },
            }
            arena.run(registers ? fused : again)
            close('nll', arena.get(outs[0]), nll!.data, 'f32', 2e-6)
            close('lse', arena.get(outs[1]), lse!.data, 'f32', 2e-6)
            close('gradient', arena.get(logits), dx!.data, dtype, 4e-6)
            const known = arena.put(lse!).offset
            const grad = { ct: weight, out: wide, dtype: 'f32' } as const
            arena.run(loss.crossEntropyGrad({ ...o, logits: kept, lse: known, grad }))
            close('gradient alone', arena.get(wide), dx!.data, 'f32', 4e-6)
          }
    })

  test('argmax takes the lower id on a tie, and is none where a logit is NaN or the largest infinite', () => {
    for (const dtype of floats)
      for (const width of [1, 7, 513, 9000]) {
        const arena = makeArena()
        const x = ints(tensor(dtype, 5, width), -3, 3)
        x.data.fill(-Infinity, 0, width)
        x.data[2 * width - 1] = NaN
        x.data[3 * width - 1] = Infinity
        const out = arena.out(tensor('i32', 5))
        const o = { rows: 5, width, dtype, out: out.offset }
        arena.run(loss.argmax({ ...o, logits: arena.put(x, 1) }))
        const want = [0, 1, 2, 3, 4].map((r) => {
          const row = Array.from(x.data).slice(r * width, (r + 1) * width)
          return r < 3 ? -1 : row.indexOf(Math.max(...row))
        })
        assert.deepEqual([...arena.get(out)], want)
      }
  })

  const encoded = (dtype: DType, rows: number, width: number) => {
    const type = { dtype, shape: [rows, width] } as TensorType
    const x = Float32Array.from(normal(tensor('f32', rows, width), 0.02).data)
    // A block of zeros, and one far larger than the others.
    if (x.length > 300) {
      x.fill(0, 64, 200)
      x[201] = 37.5
    }
    const data = new Uint8Array(bytes(type))
    quantize(x, type, data)
    return { type, x, data }
  }
  const encodings = [
    ['nf4/64/256', 3, 40],
    ['nf4/64/256', 40, 1032],
    ['nf4/64/256', 16, 1024],
    ['nf4/64', 5, 333],
    ['nf4/7/3', 9, 11],
    ['nf4/1024/2', 3, 2001],
    ['nf4/5', 1, 1],
  ] as const
  test('NF4 decodes bit for bit, several matrices a launch', () => {
    for (const to of floats) {
      const arena = makeArena()
      const all = encodings.map(([dtype, rows, width]) => {
        const e = encoded(dtype, rows, width)
        const { offset } = arena.put({ type: e.type, data: e.data })
        const out = arena.out(tensor(to, rows, width), width % 8 === 0 ? 8 : 3)
        return { ...e, offset, out }
      })
      const launches = nf4.dequantize(all, to)
      assert.deepEqual(
        launches.map((l) => l.kernel.name),
        ['nf4_decode_groups', ...Array.from({ length: 4 }, () => 'nf4_decode')],
      )
      arena.run(launches)
      for (const e of all)
        assert.deepEqual(
          arena.get(e.out),
          Float64Array.from(dequantize(e.type, e.data), round[to]),
          `${e.type.dtype} to ${to}`,
        )
    }
  })
  test('NF4 encodes bit for bit', () => {
    for (const from of floats)
      for (const [dtype, rows, width] of encodings) {
        const arena = makeArena()
        const { type, x } = encoded(dtype, rows, width)
        const values = Float32Array.from(x, round[from])
        const want = new Uint8Array(bytes(type))
        quantize(values, type, want)
        const source = arena.put(t(tensor(from, rows * width), values)).offset
        const out = arena.out(type)
        const workspace = arena.scratch(nf4.quantizeWorkspaceBytes(type))
        arena.run(nf4.quantize({ type, x: source, from, offset: out.offset, workspace }))
        const got = arena.raw(out)
        // Padding between parts is nobody's.
        const decoded = dequantize(type, Uint8Array.from(got))
        assert.deepEqual(decoded, dequantize(type, want), `${dtype} from ${from}`)
        const differ = Array.from(want).filter((b, i) => b !== 0 && b !== got[i]).length
        assert.equal(differ, 0, `${dtype} from ${from}: ${differ} bytes differ`)
      }
  })
  test('the mean of the scales is summed in order where the order matters', () => {
    const arena = makeArena()
    const type = tensor('nf4/1/64', 4096)
    // In order, every 64 is lost in 2^60 + 2^36, which then ties to the even f32; added up first, they break the tie.
    const x = new Float32Array(4096).fill(64)
    x.set([2 ** 60, 2 ** 36])
    const want = new Uint8Array(bytes(type))
    quantize(x, type, want)
    const source = arena.put(t(tensor('f32', 4096), x)).offset
    const out = arena.out(type)
    const workspace = arena.scratch(nf4.quantizeWorkspaceBytes(type))
    arena.run(nf4.quantize({ type, x: source, from: 'f32', offset: out.offset, workspace }))
    assert.deepEqual(Buffer.from(arena.raw(out)), Buffer.from(want))
  })

  test('products of all transposes and types', () => {
    for (const dtype of floats)
      for (const to of floats)
        for (const [ta, tb] of [
          [false, false],
          [false, true],
          [true, false],
          [true, true],
        ] as const)
          for (const [m, n, k] of [
            [3, 5, 7],
            [70, 66, 40],
          ] as const) {
            const arena = makeArena()
            const a = normal(tensor(dtype, ...(ta ? [k, m] : [m, k])))
            const b = normal(tensor(dtype, ...(tb ? [n, k] : [k, n])))
            const c = normal(tensor(to, m, n))
            const d = arena.mayWrite(arena.put(c, 2))
            const scaling = { alpha: 0.5, beta: m === 3 ? 2 : 0 }
            arena.run(
              products.dot({
                a: arena.put(a, 3),
                b: arena.put(b),
                ...(m === 3 ? { c: d } : {}),
                d,
                ta,
                tb,
                m,
                n,
                k,
                dtype,
                to,
                ...scaling,
              }),
            )
            const [ab] = apply('dot', { ta, tb }, a, b)
            const want = ab!.data.map((x, i) => 0.5 * x + scaling.beta * c.data[i]!)
            close(`dot ${dtype} ${to}`, arena.get(d), want, to, 1e-5)
          }
  })
  test('skinny products round the narrow operand first', () => {
    for (const dtype of floats)
      for (const weights of ['f32', dtype] as const)
        for (const [rows, k, n] of [
          [5, 300, 8],
          [1, 13, 1],
          [9, 64, 20],
        ] as const) {
          const arena = makeArena()
          const x = normal(tensor(dtype, rows, k))
          const a = normal(tensor(weights, n, k))
          const u = arena.out(tensor(dtype, rows, n), 3)
          const o = { rows, k, n, alpha: 2, dtype, weights }
          arena.run(products.skinny({ x: arena.put(x, 8), a: arena.put(a), u, ...o }))
          const narrow = t(tensor(dtype, n, k), a.data.map(round[dtype]))
          const [want] = apply('dot', { ta: false, tb: true }, x, narrow)
          close(
            'skinny',
            arena.get(u),
            want!.data.map((v) => 2 * v),
            dtype,
            1e-5,
          )
        }
  })

  test('Adam in place over one range, with a multiplier and a copy', () => {
    for (const decoupled of [true, false])
      for (const step of [1, 2, 1000])
        for (const n of [1, 37, 3000])
          for (const dtype of floats) {
            const arena = makeArena()
            const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.01, decoupled }
            const type = tensor('f32', n)
            const [p, g, m] = [normal(type), normal(type), normal(type, 0.1)]
            const v = t(type, normal(type, 0.1).data.map(Math.abs))
            const clip = Math.fround(0.37)
            const clipped = t(
              type,
              g.data.map((x) => x * clip),
            )
            const one = (x: number) => t(scalar('f32'), [Math.fround(x)])
            const [rate, at] = [one(2e-4), one(step)]
            const want = apply('adamw', adam, p, clipped, m, v, rate, at)
            const held = [p, m, v].map((x) => arena.mayWrite(arena.put(x)))
            const [P, M, V] = held.map((h) => h.offset) as [number, number, number]
            const copy = arena.out(tensor(dtype, n))
            arena.run(
              optim.adamw({
                adam,
                n,
                p: P,
                g: arena.put(g).offset,
                m: M,
                v: V,
                nextP: P,
                nextM: M,
                nextV: V,
                rate: arena.put(rate).offset,
                step: arena.put(at).offset,
                multiplier: arena.put(one(clip)).offset,
                copy: { offset: copy.offset, dtype },
              }),
            )
            held.forEach((h, i) => close(`adamw ${i}`, arena.get(h), want[i]!.data, 'f32', 3e-7))
            assert.deepEqual(arena.get(copy), arena.get(held[0]!).map(round[dtype]))
          }
  })
  test('clipping and the loss scale', () => {
    for (const squares of [0, 0.25, 1, 9, 1e10]) {
      const arena = makeArena()
      const x = t(scalar('f32'), [Math.fround(squares)])
      const out = arena.out(scalar('f32'))
      const places = { squares: arena.put(x).offset, out: out.offset }
      arena.run(optim.clipCoefficient({ ...places, max: 1 }))
      close('clip', arena.get(out), apply('clipCoefficient', { max: 1 }, x)[0]!.data, 'f32')
    }
    for (const [s, streak, finite] of [
      [1024, 5, 1],
      [1024, 1999, 1],
      [1024, 1999, 0],
      [2, 0, 0],
    ] as const) {
      const arena = makeArena()
      const [a, b] = [t(scalar('f32'), [s]), t(scalar('f32'), [streak])]
      const c = t(scalar('bool'), [finite])
      const [x, y] = [arena.mayWrite(arena.put(a)), arena.mayWrite(arena.put(b))]
      arena.run(
        optim.lossScale({
          scale: x.offset,
          streak: y.offset,
          finite: arena.put(c).offset,
          nextScale: x.offset,
          nextStreak: y.offset,
        }),
      )
      const want = apply('lossScale', {}, a, b, c)
      assert.deepEqual([arena.get(x)[0], arena.get(y)[0]], [want[0]!.data[0], want[1]!.data[0]])
    }
  })
})
