/** 8-bit optimizer state: bitsandbytes' codes and Adam, bit for bit where arithmetic is exact, and the laws of the pass. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { codeOf, decode, encode, mapOf, thresholdsOf } from '../ir/eight.ts'
import { showReason } from '../ir/reason.ts'
import { bytes, size, tensor } from '../ir/type.ts'
import { decode as decodeBytes, encode as encodeBytes } from '../backends/bytes.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import type { Rule } from '../backends/cuda/lower/rule.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import type { State } from '../ir/graph.ts'
import {
  accumulate,
  differentiate,
  eightBit,
  optimizer,
  precision,
  schedule,
  simplify,
} from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { fc, holds, runs } from './fc.ts'
import { close, noise, run, sameBits, through, type Named } from './laws.ts'
import { right } from './right.ts'
import { curves, slope, stepping } from './optimizer-job.ts'

interface Step {
  readonly gradient: string
  readonly p: string
  readonly codes: readonly [string, string]
  readonly absmax: readonly [string, string]
}
interface Golden {
  readonly coded: ReadonlyArray<
    Readonly<Record<'values' | 'codes' | 'absmax' | 'decoded', string>> & {
      readonly signed: boolean
    }
  >
  readonly curves: ReadonlyArray<{
    readonly betas: readonly [number, number]
    readonly exact: boolean
    readonly decay: number
    readonly start: string
    readonly steps: ReadonlyArray<Step>
  }>
}
const golden = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'fixtures', 'optimizers', 'eight.json'), 'utf8'),
) as Golden

const u8 = (text: string): Float64Array => Float64Array.from(Buffer.from(text, 'base64'))
const f32 = (text: string): Float64Array =>
  Float64Array.from(new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer))
const rounded = (x: Float64Array): Float64Array => x.map(Math.fround)

test('codes, scales and decoded values are bitsandbytes’, signed and unsigned', () => {
  for (const c of golden.coded) {
    const got = encode(!c.signed, f32(c.values))
    const codes = u8(c.codes)
    assert.deepEqual(
      [...got.codes].flatMap((k, i) => (k === codes[i] ? [] : [`${i}: ${k} for ${codes[i]}`])),
      [],
    )
    holds(sameBits(got.scales, f32(c.absmax)))
    holds(close(0, 0)(rounded(decode(!c.signed, { codes, scales: f32(c.absmax) })), f32(c.decoded)))
  }
})

test('the nearest code, by looking at all of them; no sign is lost', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.double({ min: -1, max: 1, noNaN: true }), (unsigned, raw) => {
      const x = Math.fround(unsigned ? Math.abs(raw) : raw)
      const [map, k] = [mapOf(unsigned), codeOf(thresholdsOf(unsigned), x)]
      const least = Math.min(...Array.from(map, (m) => Math.abs(m - x)))
      holds(Math.abs(map[k]! - x) <= least * (1 + 1e-6) || (x < 0 && k === 126))
      holds(x < 0 ? map[k]! < 0 : map[k]! >= 0)
    }),
    runs(500),
  )
  for (const unsigned of [false, true])
    mapOf(unsigned).forEach((m, k) => assert.equal(codeOf(thresholdsOf(unsigned), m), k))
})

const least = { least: 1 }

/** Adam8bit of a golden curve, by the compiled step. */
const stepsOf = (c: Golden['curves'][number]): ReadonlyArray<Named> => {
  const o = {
    ...{ beta1: c.betas[0], beta2: c.betas[1], eps: 1e-8, decay: c.decay },
    ...{ decoupled: true, clip: null },
  }
  const p = through(differentiate, optimizer(o), eightBit(least))(slope([[300]]))
  const all: Named[] = []
  c.steps.forEach((s, k) => {
    const w = {
      source: () => f32(c.start),
      input: ({ name }: { readonly name: string }) =>
        name === 'lr'
          ? Float64Array.of(Math.fround(0.01))
          : name === 'step'
            ? Float64Array.of(k + 1)
            : f32(s.gradient),
    }
    all.push({ ...all.at(-1), ...run(p, w, 'step', 'typed', all.at(-1)).updates })
  })
  return all
}

test('Adam8bit step after step: the same bits where sums are exact, the same but for last bits otherwise', () => {
  for (const c of golden.curves)
    stepsOf(c).forEach((got, k) => {
      const want = c.steps[k]!
      holds(close(1e-5, 1e-7)(got['p0.weight']!, f32(want.p)), `p after step ${k + 1}`)
      for (const [i, m] of (['m', 'v'] as const).entries()) {
        const codes = u8(want.codes[i]!)
        const off = [...got[`adam.${m}.p0.weight`]!].map((x, at) => Math.abs(x - codes[at]!))
        const wrong = off.filter((d) => d > 0).length
        if (c.exact) assert.equal(wrong, 0, `${m} after step ${k + 1}`)
        else holds(Math.max(...off) <= 1 && wrong <= 3, `${m} after step ${k + 1}: ${wrong} codes`)
        const scales = got[`adam.${m}_scales.p0.weight`]!
        holds(
          c.exact
            ? sameBits(scales, f32(want.absmax[i]!))
            : close(1e-6)(scales, f32(want.absmax[i]!)),
        )
      }
    })
})

test('state of a large tensor is 2.03 bytes a value, of a small one 8 as before', () => {
  const adam = { beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0, decoupled: true, clip: 1 }
  const p = through(
    differentiate,
    optimizer(adam),
    eightBit({ least: 4096 }),
  )(slope([[64, 128], [64]]))
  const of = (trained: string): number =>
    p.state
      .filter((s) => s.role === 'optimizer' && s.name.endsWith(trained))
      .reduce((n, s) => n + bytes(s.type), 0)
  assert.equal(of('p0.weight') / size(tensor('f32', 64, 128)), 2.03125)
  assert.equal(of('p1.weight') / 64, 8)
})

test('every optimizer that keeps something: a curve close to the one in 32 bits; none that keeps nothing', () => {
  for (const { settings, rates } of curves.cases) {
    const o = { ...settings, clip: null }
    const made = compile([differentiate, optimizer(o), eightBit(least)])(slope())
    if (!stepping(o).state.some((s) => s.role === 'optimizer')) {
      assert.ok(E.isLeft(made))
      assert.match(showReason(made.left.reason), /state of at least 1 values matches nothing/)
      continue
    }
    assert.ok(E.isRight(made))
    assert.ok(rates.length > 0)
    const wide = new Set(stepping(o).state.map((s) => s.name))
    for (const s of made.right.program.state.filter(
      (x) => x.role === 'optimizer' && wide.has(x.name),
    ))
      assert.equal(s.type.dtype, 'u8', s.name)
  }
})

test('a step that overflows in f16 leaves codes and scales as they were', () => {
  const adam = { beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.1, decoupled: true, clip: null }
  const p = through(
    precision({ compute: 'f16' }),
    differentiate,
    optimizer(adam),
    eightBit(least),
  )(slope([[300]]))
  const stepAt = (gradient: number, carried: Named): Named => ({
    ...carried,
    ...run(
      p,
      {
        source: (_, n) => new Float64Array(n).fill(0.5),
        input: ({ name, type }) =>
          name === 'lr'
            ? Float64Array.of(0.01)
            : name === 'step'
              ? Float64Array.of(1)
              : Float64Array.from({ length: size(type) }, (__, i) =>
                  i % 7 === 0 ? gradient : -0.01 * i,
                ),
      },
      'step',
      'typed',
      carried,
    ).updates,
  })
  const first = stepAt(0.25, { 'scaler.scale': Float64Array.of(8) })
  const second = stepAt(65504, { ...first, 'scaler.scale': Float64Array.of(2 ** 120) })
  assert.equal(second['scaler.scale']![0], 2 ** 119)
  for (const s of p.state.filter((x) => x.role === 'optimizer' || x.role === 'train'))
    holds(sameBits(first[s.name]!, second[s.name]!), s.name)
  const third = stepAt(0.25, { ...second, 'scaler.scale': Float64Array.of(8) })
  assert.ok(!sameBits(third['adam.m_scales.p0.weight']!, second['adam.m_scales.p0.weight']!))
})

test(
  'on a GPU whole tensors side by side step in one launch, with the codes of step by step',
  {
    skip: noCompiler,
  },
  async () => {
    const target = cardOf('sm_80')!.target
    const shapes = [
      [128, 256],
      [64, 512],
      [3, 100],
      [64, 256],
      [16, 16],
    ]
    const adam = { beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.1, decoupled: true, clip: 1 }
    // Gradients come as inputs here; accumulated, they are state that lies like the parameters.
    const p = through(
      differentiate,
      optimizer(adam),
      eightBit({ least: 300 }),
      simplify,
      accumulate,
      schedule,
    )(slope(shapes))
    const launches = (with_: ReadonlyArray<Rule>) =>
      lower(p, target, with_).fns.find((f) => f.name === 'update')!.launches
    const fused = launches(rules).filter((l) => l.rule === 'update in 8 bits')
    // The last of a range need not be whole, and ends it.
    assert.equal(fused.length, 2)
    assert.ok(launches([]).length > 3 * fused.length)
    const results: Array<ReadonlyArray<Uint8Array>> = []
    for (const with_ of [rules, []]) {
      const session = right(await emulated(target, with_).prepare(p)())
      const filled = (s: State): Float64Array => noise(s.name, size(s.type))
      for (const s of p.state.filter((x) => x.role === 'train'))
        right(await session.write(s.name, encodeBytes(s.type, filled(s)))())
      for (const step of [1, 2]) {
        const gradients = shapes.map((shape, i) => [
          `g${i}`,
          Float32Array.from(
            noise(
              `${step}${i}`,
              shape.reduce((a, b) => a * b, 1),
            ),
          ),
        ])
        right(await session.run('micro', Object.fromEntries(gradients))())
        const at = { lr: Float32Array.of(0.01), step: Float32Array.of(step) }
        right(await session.run('update', at)())
      }
      const read: Uint8Array[] = []
      for (const s of p.state.filter((x) => ['train', 'optimizer'].includes(x.role)))
        read.push(right(await session.read(s.name)()))
      results.push(read)
      right(await session.close()())
    }
    // Fused, a product is rounded with its sum: a code may differ by one here and there.
    results[0]!.forEach((bytesOf, i) => {
      const other = results[1]![i]!
      const differ = bytesOf.filter((x, k) => x !== other[k]).length
      holds(bytesOf.length === other.length && bytesOf.some((x) => x !== 0))
      const s = p.state.filter((x) => ['train', 'optimizer'].includes(x.role))[i]!
      if (s.type.dtype === 'u8') holds(differ < bytesOf.length / 500, `${s.name}: ${differ} codes`)
      else
        holds(close(1e-4, 1e-6)(decodeBytes(s.type, bytesOf), decodeBytes(s.type, other)), s.name)
    })
  },
)
