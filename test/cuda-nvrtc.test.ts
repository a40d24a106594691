/** NVRTC itself, where this machine has it: every architecture, errors, warnings, and the cache on disk. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { archFor, runsOn } from '../backends/cuda/driver/arch.ts'
import { compileCached, keyOf } from '../backends/cuda/driver/cache.ts'
import { type Nvrtc, nvrtcNames, openNvrtc, optionsOf } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'
import { calls, fake, folder as fakes, gpuOf, missing, only } from './cuda-fake.ts'
import { right } from './right.ts'

const found = openNvrtc(whereOf(process.env, process.cwd()), null)
const skip = E.isLeft(found) && `no NVRTC here: ${found.left.hint}`
const nvrtc = (): Nvrtc => right(found)

const source = `
#ifndef SCALE
#error "SCALE is not set"
#endif
extern "C" __global__ void scale(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= SCALE;
}
`
const unit = (
  arch: string,
  defines: Readonly<Record<string, string | number>> = { SCALE: '2.0f' },
) => ({
  source,
  defines,
  arch,
  options: [],
})

for (const arch of ['sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90a', 'sm_120'])
  test(`${arch}: a cubin with the kernel`, { skip }, () => {
    const { image } = right(nvrtc().compile(unit(arch)))
    assert.equal(image.subarray(0, 4).toString('latin1'), '\u007fELF')
    assert.ok(image.includes('scale'))
  })

test('a virtual architecture gives PTX that ends in a zero', { skip }, () => {
  const { image } = right(nvrtc().compile(unit('compute_75')))
  assert.match(image.toString('latin1'), /\.target sm_75[^]*\.entry scale\([^]*\0$/)
})

test('an error carries the log, a warning is said', { skip }, () => {
  const bad = nvrtc().compile(unit('sm_80', {}))
  assert.ok(E.isLeft(bad))
  assert.equal(bad.left.name, 'NVRTC_ERROR_COMPILATION')
  assert.match(bad.left.message, /--gpu-architecture=sm_80[^]*SCALE is not set/)
  const unused = right(
    nvrtc().compile({
      ...unit('sm_80'),
      source: `${source}\nstatic __device__ int f() { int x; return 1; }`,
    }),
  )
  assert.match(unused.log, /warning/)
  const option = nvrtc().compile({ ...unit('sm_80'), options: ['--no-such-option'] })
  assert.ok(E.isLeft(option))
  assert.equal(option.left.name, 'NVRTC_ERROR_INVALID_OPTION')
  assert.match(option.left.message, /no-such-option/)
})

test('the options of a unit do not depend on the order of its macros', () => {
  const options = ['--gpu-architecture=sm_80', '--std=c++17', '-DA=1', '-DB=2']
  assert.deepEqual(optionsOf(unit('sm_80', { B: 2, A: 1 })), options)
  assert.deepEqual(optionsOf(unit('sm_80', { A: 1, B: 2 })), options)
})

test('an NVRTC of the driver’s major version is taken first', () => {
  assert.deepEqual(nvrtcNames(12), ['libnvrtc.so.12', 'libnvrtc.so.13'])
  assert.deepEqual(nvrtcNames(13), ['libnvrtc.so.13', 'libnvrtc.so.12'])
})

test('architectures: the card’s own, else PTX of an older one, else why not', () => {
  const known = [75, 80, 86, 89, 90, 100, 120]
  for (const [capability, arch] of [
    [75, 'sm_75'],
    [86, 'sm_86'],
    [90, 'sm_90a'],
    [121, 'compute_120'],
    [87, 'compute_86'],
  ] as const)
    assert.equal(right(archFor(capability, known)), arch)
  const [pascal, early] = [archFor(61, known), archFor(75, [80])]
  assert.match((E.isLeft(pascal) && pascal.left.message) || '', /capability 6\.1; 7\.5/)
  assert.equal(E.isLeft(early) && early.left.name, 'NVRTC_TOO_OLD')
  const runs = (arch: string) => ([75, 80, '90a'] as const).map((n) => runsOn(arch, n))
  assert.deepEqual(['compute_75', 'sm_86', 'sm_90a', 'sm_120'].map(runs), [
    [true, false, false],
    [true, true, false],
    [true, true, true],
    [true, true, false],
  ])
})

const inFolder = (body: (folder: string) => void): void => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-kernels-'))
  try {
    body(folder)
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

const fakeNvrtc = () => right(openNvrtc(only(fakes), null))

test(
  'the cache: one compilation for a unit, another for any change of it',
  { skip: missing ?? false },
  () =>
    inFolder((folder) => {
      const n = fakeNvrtc()
      const units = [
        unit('sm_80'),
        unit('sm_90a'),
        unit('sm_80', { SCALE: 3 }),
        { ...unit('sm_80'), source: 'slow' },
        { ...unit('sm_80'), options: ['-lineinfo'] },
      ]
      assert.equal(new Set(units.map((u) => keyOf(n, u))).size, units.length)
      const later = { version: { major: 13, minor: 1 } }
      assert.notEqual(keyOf(n, units[0]!), keyOf(later, units[0]!))
      for (const u of units) {
        const fresh = right(compileCached(n, folder, u))
        const again = right(compileCached(n, folder, u))
        assert.deepEqual([fresh.cached, again.cached], [false, true])
        assert.deepEqual([again.image, again.log], [fresh.image, fresh.log])
        assert.deepEqual(again.image, right(n.compile(u)).image)
      }
      assert.equal(fs.readdirSync(folder).length, units.length)
    }),
)

test(
  'a damaged entry is compiled again, whatever byte of it changed or where it ends',
  { skip: missing ?? false },
  () =>
    inFolder((folder) => {
      const n = fakeNvrtc()
      const u = unit('sm_80')
      const whole = right(compileCached(n, folder, u)).image
      const file = path.join(folder, fs.readdirSync(folder)[0]!)
      const good = fs.readFileSync(file)
      const damaged = [
        ...Array.from(good, (_, i) => {
          const b = Buffer.from(good)
          b[i]! ^= 1
          return b
        }),
        ...[0, 1, 31, 32, 35, 36, good.length - 1].map((end) => good.subarray(0, end)),
      ]
      for (const b of damaged) {
        fs.writeFileSync(file, b)
        const made = right(compileCached(n, folder, u))
        assert.deepEqual([made.cached, made.image], [false, whole])
        assert.deepEqual(fs.readFileSync(file), good)
      }
    }),
)

test('a cache that cannot be written costs a notice, not the run', { skip: missing ?? false }, () =>
  inFolder((folder) => {
    const file = path.join(folder, 'a-file')
    fs.writeFileSync(file, '')
    const made = right(compileCached(fakeNvrtc(), file, unit('sm_80')))
    assert.match(made.notices[0]!, /compiled kernels are not kept in .*a-file/)
  }),
)

test(
  'modules: compiled once a session, warnings told also from the cache, the wrong architecture refused',
  { skip: missing ?? false },
  () =>
    inFolder((cacheDir) => {
      for (const cached of [false, true]) {
        const gpu = gpuOf({ cacheDir })
        calls()
        const kernels = right(gpu.module('slow', { N: 4 }, '90a'))
        assert.equal(right(gpu.module('slow', { N: 4 }, '90a')), kernels)
        assert.equal(kernels.cached, cached)
        assert.match(kernels.notices.join('\n'), /C7512/)
        const compiled = cached
          ? []
          : ['nvrtcCompileProgram --gpu-architecture=sm_90a --std=c++17 -DN=4']
        assert.deepEqual(calls(), [
          ...compiled,
          'cuModuleLoadData',
          ' image --gpu-architecture=sm_90a slow',
        ])
        right(gpu.close())
      }
      const turing = gpuOf({ cacheDir, arch: 'compute_75' })
      const refused = turing.module('x', {}, 80)
      assert.match(
        (E.isLeft(refused) && refused.left.message) || '',
        /needs 80 does not run on compute_75/,
      )
      right(turing.module('x', {}, 75))
      right(turing.close())
      assert.equal(fake().live(), 0)
    }),
)
