/** Every kernel that the compiler emits compiles for every architecture and can be launched there as the list says; no GPU needed. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { runsOn, type Arch } from '../backends/cuda/driver/arch.ts'
import { compileCached } from '../backends/cuda/driver/cache.ts'
import { openNvrtc } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'
import type { Arg, KernelLaunch } from '../backends/cuda/launch.ts'
import { unitName, unitsOf, unitText, usesOf } from '../backends/cuda/lower/units.ts'
import { sourceOf } from '../backends/cuda/sources.ts'
import { emittedFor, loweredFor } from './cuda/emitted.ts'
import { factsOf, type KernelFacts } from './cuda/cubin.ts'
import { right } from './right.ts'

const found = openNvrtc(whereOf(process.env, process.cwd()), null)
const skip = E.isLeft(found) && `no NVRTC here: ${found.left.hint}`
/** A first run compiles some two hundred sources; the next ones find them here. */
const cache = path.join(import.meta.dirname, '../.cuda/kernels')

const KB = 1024
/** Most bytes of shared memory of a block, static and dynamic (CUDA programming guide, compute capabilities). */
const architectures: ReadonlyArray<readonly [Arch, number, shared: number]> = [
  ['sm_75', 75, 64 * KB],
  ['sm_80', 80, 163 * KB],
  ['sm_86', 86, 99 * KB],
  ['sm_89', 89, 99 * KB],
  ['sm_90a', 90, 227 * KB],
  ['sm_120', 120, 99 * KB],
]
/** Registers of a multiprocessor, the same in all of them; a warp takes them in lots of 256. */
const REGISTERS = 65536

const bytesOf = (a: Arg): number =>
  a._tag === 'map' ? 128 : a._tag === 'at' || a._tag === 'null' ? 8 : 4

const registersOf = (k: KernelFacts, block: number): number =>
  Math.ceil(block / 32) * Math.ceil((k.registers * 32) / 256) * 256

/** Why a launch cannot run, or null. */
const obstacle = (l: KernelLaunch, k: KernelFacts | undefined, shared: number): string | null => {
  if (k === undefined) return 'the source has no such kernel'
  const given = l.args.map(bytesOf)
  if (given.join() !== k.params.join())
    return `parameters ${k.params.join()}, given ${given.join()}`
  if (l.block < 1 || l.block > k.threads) return `block ${l.block}, compiled for ${k.threads}`
  if (registersOf(k, l.block) > REGISTERS) return `${k.registers} registers × ${l.block} threads`
  if (k.shared + l.shared > shared) return `shared memory ${k.shared} + ${l.shared} > ${shared}`
  const [x, y, z] = l.grid
  if (![x, y, z].every((n) => Number.isInteger(n) && n >= 1)) return `grid ${l.grid.join()}`
  return x >= 2 ** 31 || y > 65535 || z > 65535 ? `grid ${l.grid.join()} is too large` : null
}

for (const [arch, capability, shared] of architectures)
  test(`${arch}: every kernel of the emitted lists compiles and fits`, { skip }, () => {
    const nvrtc = right(found)
    const compiled = new Map<string, ReadonlyMap<string, KernelFacts>>()
    for (const e of emittedFor(capability)) {
      const lowered = loweredFor(e, capability)
      for (const u of unitsOf(lowered)) {
        if (compiled.has(unitName(u))) continue
        const source = sourceOf(u.source)
        const made = compileCached(nvrtc, cache, { source, defines: u.defines, arch, options: [] })
        assert.ok(E.isRight(made), E.isLeft(made) ? `${unitName(u)}: ${made.left.message}` : '')
        compiled.set(unitName(u), factsOf(made.right.image))
      }
      for (const { launch: l } of usesOf(lowered)) {
        const facts = compiled.get(unitName(l.kernel))!.get(l.kernel.name)
        const why = runsOn(arch, l.kernel.needs)
          ? obstacle(l, facts, shared)
          : `it needs ${l.kernel.needs}`
        assert.equal(why, null, `${e.name}: ${unitName(l.kernel)} ${l.kernel.name}`)
      }
    }
  })

test(
  'a dumped source stands alone: it compiles to the same kernels without further macros',
  { skip },
  () => {
    const e = emittedFor(75).at(-1)!
    for (const u of unitsOf(loweredFor(e, 75)).filter((x) => /norm|optim/.test(x.source))) {
      const unit = { arch: 'sm_75', options: [] }
      const [alone, whole] = [
        { ...unit, source: unitText(u), defines: {} },
        { ...unit, source: sourceOf(u.source), defines: u.defines },
      ].map((x) => factsOf(right(compileCached(right(found), cache, x)).image))
      assert.deepEqual(alone, whole)
      for (const k of u.kernels) assert.ok(alone!.has(k))
    }
  },
)

test('the obstacles are seen', () => {
  const k: KernelFacts = { params: [8, 4], registers: 128, shared: 1000, threads: 512 }
  const l = (change: Partial<KernelLaunch>): KernelLaunch => ({
    _tag: 'kernel',
    kernel: { source: 'x.cu', name: 'x', defines: {}, needs: 75 },
    grid: [1, 1, 1],
    block: 256,
    shared: 0,
    args: [
      { _tag: 'at', offset: 0 },
      { _tag: 'u32', value: 1 },
    ],
    bytes: 0,
    flops: 0,
    ...change,
  })
  const why = (change: Partial<KernelLaunch>, facts = k) => obstacle(l(change), facts, 48 * KB)
  assert.equal(why({}), null)
  assert.match(why({ args: [{ _tag: 'u32', value: 1 }] })!, /parameters 8,4, given 4/)
  assert.match(why({ block: 513 })!, /block 513/)
  assert.match(why({ block: 512 }, { ...k, registers: 136 })!, /136 registers/)
  assert.match(why({ shared: 48 * KB - 999 })!, /shared memory/)
  assert.match(why({ grid: [1, 65536, 1] })!, /too large/)
  assert.match(why({ grid: [1.5, 1, 1] })!, /grid 1.5/)
})
