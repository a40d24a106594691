/** Every kernel source compiles in each storage type, on each kind of architecture that sources tell apart; NVRTC needs no GPU. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { runsOn } from '../backends/cuda/driver/arch.ts'
import { type Nvrtc, openNvrtc } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'
import { macros } from '../backends/cuda/kernels/element.ts'
import type { Kernel } from '../backends/cuda/launch.ts'
import { sourceOf } from '../backends/cuda/sources.ts'
import type { Float } from '../ir/type.ts'
import { right } from './right.ts'

const found = openNvrtc(whereOf(process.env, process.cwd()), null)
const skip = E.isLeft(found) && `no NVRTC here: ${found.left.hint}`
const nvrtc = (): Nvrtc => right(found)

const folder = path.join(import.meta.dirname, '../backends/cuda/kernels')
const floats: ReadonlyArray<Float> = ['f32', 'bf16', 'f16']
const alone = floats.map((d) => macros(d))
/** Each type with itself and with f32; the others differ in nothing but conversions. */
const paired = floats.flatMap((d) =>
  d === 'f32' ? [macros(d, d)] : [macros(d, d), macros(d, 'f32')],
)
const decoded = floats.map((d) => macros('f32', d))

const few = (dtype: Float) =>
  (
    [
      [16, 1, 0, 4, 1],
      [16, 1, 1, 4, 1],
      [8, 4, 0, 4, 1],
      [9, 2, 0, 2, 0],
    ] as const
  ).map(([WARPS, TILES, PAIR, BLOCKS, NESTED]) => ({
    ...macros(dtype),
    WARPS,
    TILES,
    PAIR,
    BLOCKS,
    NESTED,
  }))
const token = floats.flatMap((d) =>
  (
    [
      [64, 8],
      [128, 1],
      [256, 4],
    ] as const
  ).map(([D, G]) => ({ ...macros(d), D, G, WARPS: 8 })),
)

interface Unit {
  readonly needs: Kernel['needs']
  readonly defines: ReadonlyArray<Kernel['defines']>
}
const units: Readonly<Record<string, Unit>> = {
  'elementwise.cu': { needs: 75, defines: alone },
  'cast.cu': { needs: 75, defines: floats.flatMap((a) => floats.map((b) => macros(a, b))) },
  'bytes.cu': { needs: 75, defines: [{}] },
  'reduce.cu': { needs: 75, defines: paired },
  'norm.cu': { needs: 75, defines: alone },
  'rope.cu': { needs: 75, defines: alone },
  'attention.cu': { needs: 75, defines: alone.map((d) => ({ ...d, WARPS: 4 })) },
  'attention_mma.cu': {
    needs: 80,
    defines: [16, 32, 64, 96, 128].map((D) => ({ ...macros('bf16'), D, WARPS: 8, STAGES: 2 })),
  },
  'attention_wgmma.cu': {
    needs: '90a',
    defines: [64, 128].flatMap((D) => [macros('bf16'), macros('f16')].map((d) => ({ ...d, D }))),
  },
  'loss.cu': { needs: 75, defines: paired.flatMap((d) => [0, 4].map((n) => ({ ...d, CE_N: n }))) },
  'nf4.cu': { needs: 75, defines: [...decoded, macros('bf16', 'f32'), macros('f16', 'f32')] },
  'int8.cu': { needs: 75, defines: [...decoded, macros('bf16', 'f32'), macros('f16', 'f32')] },
  'int8_dot.cu': { needs: 75, defines: floats.map((d) => macros(d, d)) },
  'optim.cu': { needs: 75, defines: decoded },
  'classes.cu': { needs: 75, defines: [macros('f32', 'f32')] },
  'eight.cu': { needs: 75, defines: [macros('f32', 'f32')] },
  'dot.cu': { needs: 75, defines: paired },
  'lora.cu': { needs: 75, defines: alone },
  'float8.cu': {
    needs: 75,
    defines: floats.flatMap((d) => [macros(d, d), { ...macros('bf16', d), X_E5M2: 1 }]),
  },
  'float8_rows.cu': {
    needs: 80,
    defines: (['bf16', 'f16'] as const).flatMap((d) =>
      [1, 3].map((n) => ({ ...macros(d), KEPT: n, THREADS: 512 })),
    ),
  },
  'few.cu': { needs: 80, defines: few('bf16') },
  'token.cu': { needs: 75, defines: token },
  'lora_mma.cu': {
    needs: 80,
    defines: [8, 1].map((n) => ({ ...macros('bf16'), RANK_TILES: n, COLUMNS: 64, WARPS: 8 })),
  },
  'norm_rows.cu': {
    needs: 75,
    defines: alone.slice(1).flatMap((d) => [64, 512, 1024].map((n) => ({ ...d, THREADS: n }))),
  },
}

test('every source is compiled here', () => {
  const sources = readdirSync(folder).filter((f) => f.endsWith('.cu'))
  assert.deepEqual(Object.keys(units).toSorted(), sources.toSorted())
})

/** Kernels of a source by name. */
const kernelsOf = (source: string): ReadonlyArray<string> =>
  [
    ...readFileSync(path.join(folder, source), 'utf8').matchAll(
      /^KERNEL\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(/gm,
    ),
  ].map((m) => m[1]!)

test('attention on Turing', { skip }, () => {
  for (const D of [16, 32, 64, 96, 128])
    for (const arch of ['sm_75', 'compute_75']) {
      const defines = { ...macros('f16'), D, WARPS: 4, STAGES: 1 }
      const unit = { source: sourceOf('attention_mma.cu'), defines, arch, options: [] }
      assert.equal(right(nvrtc().compile(unit)).log, '')
    }
})

test('few rows on Turing', { skip }, () => {
  for (const defines of few('f16'))
    for (const arch of ['sm_75', 'compute_75']) {
      const unit = { source: sourceOf('few.cu'), defines, arch, options: [] }
      assert.equal(right(nvrtc().compile(unit)).log, '')
    }
})

/** All types where Hopper's own kernels are; elsewhere those whose conversions differ by architecture. */
const some = (arch: string, defines: Unit['defines']): Unit['defines'] =>
  arch === 'sm_90a' ? defines : defines.slice(arch === 'sm_75' ? -2 : -1)

// The lists that are emitted compile for all six in cuda-emission.test.ts.
for (const arch of ['sm_75', 'sm_89', 'sm_90a'])
  describe(arch, { skip }, () => {
    for (const [source, { needs, defines }] of Object.entries(units))
      if (runsOn(arch, needs))
        test(source, () => {
          for (const d of some(arch, defines)) {
            const unit = { source: sourceOf(source), defines: d, arch, options: [] }
            const { image, log } = right(nvrtc().compile(unit))
            // C7519 is a note: the compiler orders registers before a product by itself. C7512 would be a loss of speed.
            assert.equal(log.replaceAll(/^.*C7519.*$/gm, '').trim(), '')
            for (const name of kernelsOf(source)) assert.ok(image.includes(name), name)
          }
        })
  })
