/** The runtime over a fake driver: what it calls, what it packs, what it counts, and how it fails. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { deviceInfo } from '../backends/cuda/driver/device.ts'
import { openDriver } from '../backends/cuda/driver/driver.ts'
import type { Cuda, CudaError } from '../backends/cuda/driver/error.ts'
import { type Gpu, openGpu } from '../backends/cuda/driver/gpu.ts'
import { driverHost } from '../backends/cuda/driver/host.ts'
import { overlapping } from '../backends/cuda/driver/launch.ts'
import { prepareOn } from '../backends/cuda/index.ts'
import { at, f32, i32, nowhere, u32 } from '../backends/cuda/launch.ts'
import { calls, fake, folder, gpuOf, missing, only } from './cuda-fake.ts'
import { trained } from './conformance.ts'
import { right } from './right.ts'

const skip = missing ?? false

const left = (r: Cuda<unknown>): CudaError => {
  assert.ok(E.isLeft(r), 'expected an error')
  return r.left
}

test('no driver: the error names the library, where it was looked for and what to install', () => {
  const e = left(openDriver(only(undefined)))
  assert.equal(e.name, 'LIBRARY_NOT_FOUND')
  assert.match(e.message, /libcuda\.so\.1 is not found; tried/)
  assert.match(e.hint!, /install the NVIDIA driver/)
})

test('no NVRTC: said after the driver was found', { skip }, () => {
  fake().reset(1, 13000, 2 ** 30)
  const host = right(driverHost(right(openDriver(only(folder))), 0))
  const e = left(openGpu(host, { cacheDir: null, where: only(undefined) }))
  assert.match(e.message, /libnvrtc\.so\.13 is not found/)
  assert.match(e.hint!, /npm run setup:cuda/)
  right(host.close())
  assert.equal(fake().live(), 0)
})

test('no device, a wrong index, too old a driver, an NVRTC newer than the driver', { skip }, () => {
  const where = only(folder)
  fake().reset(0, 13000, 0)
  const none = left(deviceInfo(right(openDriver(where)), 0))
  assert.equal(none.name, 'CUDA_ERROR_NO_DEVICE')
  assert.match(none.hint!, /CUDA_VISIBLE_DEVICES/)
  fake().reset(-1, 13000, 0)
  assert.equal(left(openDriver(where)).name, 'CUDA_ERROR_NO_DEVICE')
  fake().reset(1, 13000, 0)
  assert.match(
    left(deviceInfo(right(openDriver(where)), 3)).message,
    /no GPU 3: the driver shows 1/,
  )
  fake().reset(1, 11040, 0)
  const old = left(openDriver(where))
  assert.match(old.message, /speaks CUDA 11\.4; 12\.0 is the oldest/)
  fake().reset(1, 12040, 2 ** 30)
  const host = right(driverHost(right(openDriver(where)), 0))
  const newer = left(openGpu(host, { cacheDir: null, where }))
  assert.equal(newer.name, 'DRIVER_TOO_OLD')
  assert.match(newer.message, /speaks CUDA 12\.4, and the NVRTC at .* is of 13\.0/)
  right(host.close())
})

test('the device as the driver describes it', { skip }, () => {
  const gpu = gpuOf()
  const { name, capability, multiprocessors, sharedPerBlock, memoryBytes } = gpu.info
  assert.deepEqual(
    [name, capability, multiprocessors, sharedPerBlock, memoryBytes, gpu.arch],
    ['Fake H100', 90, 132, 232448, 2 ** 30, 'sm_90a'],
  )
  right(gpu.close())
})

test(
  'bytes go in, move, are cleared and come out; asynchronous copies are waited for',
  { skip },
  () => {
    const gpu = gpuOf()
    const a = right(gpu.allocate(1000))
    right(
      gpu.copyIn(
        a,
        Uint8Array.from({ length: 1000 }, (_, i) => i),
      ),
    )
    right(gpu.copyWithin(a + 500n, a + 3n, 100))
    right(gpu.clear(a + 1n, 2))
    right(gpu.clear(a + 8n, 8))
    const expected = Uint8Array.from({ length: 1000 }, (_, i) => i)
    expected.copyWithin(500, 3, 103)
    expected.fill(0, 1, 3).fill(0, 8, 16)
    const out = new Uint8Array(1000)
    calls()
    right(gpu.copyOut(out, a))
    assert.deepEqual(calls(), ['cuMemcpyDtoHAsync_v2', 'cuStreamSynchronize'])
    assert.deepEqual(out, expected)
    const p = right(gpu.pinned(16))
    p.bytes.set([1, 2, 3, 4, 5, 6, 7, 8])
    right(gpu.send(a, p, 4, 4))
    right(right(gpu.fence())())
    right(gpu.fetch(p, 8, a, 4))
    assert.deepEqual([...p.bytes.subarray(8, 12)], [5, 6, 7, 8])
    right(gpu.copyIn(a, new Uint8Array(0)))
    right(gpu.close())
    assert.equal(fake().live(), 0)
  },
)

test('parameters: each at its alignment, tensor maps by value, addresses whole', { skip }, () => {
  const gpu = gpuOf()
  const k = right(right(gpu.module('source', {}, 75)).fn('mixed__8_4_8_4_4_128_8'))
  const base = 0x7f12_3456_7000n
  const map = { _tag: 'map', offset: 256, rows: 100, columns: 320, ld: 384, boxRows: 64 } as const
  const p = right(
    gpu.pack(base, [at(16), i32(-2), nowhere, f32(1.5), u32(4_000_000_000), map, at(2 ** 33)]),
  )
  assert.deepEqual(
    p.fields.map((f) => f.offset),
    [0, 8, 16, 24, 28, 64, 192],
  )
  assert.equal(p.bytes.length, 200)
  assert.deepEqual(calls().slice(-2), [
    'cuTensorMapEncodeTiled',
    ' type 9 rank 2 dims 320 100 stride 768 box 64 64 steps 1 1 modes 0 3 2 0',
  ])
  right(gpu.launch(k, [2, 3, 4], [128, 1, 1], 100_000, p))
  const words = [
    0x7f12_3456_7100n,
    ...Array.from({ length: 15 }, (_, i) => 0x1111111111111111n * BigInt(i + 1)),
  ]
  const hex = (b: Buffer) => b.toString('hex')
  const u64 = (...xs: ReadonlyArray<bigint>) => hex(Buffer.from(BigUint64Array.from(xs).buffer))
  assert.deepEqual(calls(), [
    'cuFuncSetAttribute',
    ' attribute 8 = 100000',
    'cuLaunchKernel',
    ` mixed__8_4_8_4_4_128_8 grid 2 3 4 block 128 1 1 shared 100000: ${[
      u64(base + 16n),
      'feffffff',
      u64(0n),
      '0000c03f',
      '00286bee',
      u64(...words),
      u64(base + 2n ** 33n),
    ].join(' ')}`,
  ])
  right(gpu.launch(k, [1, 1, 1], [128, 1, 1], 90_000, p))
  assert.equal(calls()[0], 'cuLaunchKernel')
  const few = left(gpu.launch(k, [1, 1, 1], [1, 1, 1], 0, right(gpu.pack(base, [i32(1)]))))
  assert.match(
    few.message,
    /takes parameters of \(8, 4, 8, 4, 4, 128, 8\) bytes and is given \(4\)/,
  )
  const odd = left(gpu.pack(base, [{ ...map, ld: 380 + 3 }]))
  assert.match(odd.message, /multiples of 16 bytes/)
  right(gpu.close())
})

test('a launch that may begin early says so, with all else as it is', { skip }, () => {
  const ran = (gpu: Gpu, early: boolean): ReadonlyArray<string> => {
    const k = right(right(gpu.module('source', {}, 75)).fn('two__4_4'))
    const p = right(gpu.pack(0n, [i32(-2), f32(1.5)]))
    calls()
    right(gpu.launch(k, [2, 3, 4], [128, 1, 1], 1000, p, early))
    return calls()
  }
  const gpu = gpuOf()
  const plain = ran(gpu, false)
  assert.equal(plain[0], 'cuLaunchKernel')
  assert.deepEqual(ran(gpu, true), ['cuLaunchKernelEx', ' attribute 6 = 1', ...plain])
  right(gpu.close())
  // Cards before Hopper, and drivers that do not capture such launches, wait.
  const known = [
    overlapping({ major: 13, minor: 0 }, 90),
    overlapping({ major: 12, minor: 3 }, 120),
    overlapping({ major: 12, minor: 2 }, 90),
    overlapping({ major: 13, minor: 0 }, 89),
  ]
  assert.deepEqual(known, [true, true, false, false])
})

test('errors by name; memory that is not there says who holds it', { skip }, () => {
  const gpu = gpuOf()
  fake().fail('cuStreamSynchronize', 1)
  const e = left(gpu.synchronize())
  assert.deepEqual([e.call, e.code, e.name], ['cuStreamSynchronize', 1, 'CUDA_ERROR_INVALID_VALUE'])
  right(gpu.synchronize())
  right(gpu.allocate(2 ** 29))
  const full = left(gpu.allocate(2 ** 30))
  assert.equal(full.name, 'CUDA_ERROR_OUT_OF_MEMORY')
  assert.match(
    full.message,
    /no 1\.07 GB left: 0\.54 GB of 1\.07 GB are free, this session holds 0\.54 GB/,
  )
  fake().fail('cuModuleLoadData', 222)
  assert.match(left(gpu.module('x', {}, 75)).hint!, /older than the NVRTC/)
  right(gpu.close())
  assert.equal(fake().live(), 0)
})

test(
  'a graph: what is captured is instantiated, replayed and given back; a failing body ends its capture',
  { skip },
  () => {
    const gpu = gpuOf()
    const a = right(gpu.allocate(64))
    calls()
    const g = right(gpu.capture(() => gpu.clear(a, 64)))
    right(gpu.replay(g))
    right(gpu.replay(g))
    assert.equal(g.nodes, 7)
    right(gpu.destroy(g))
    assert.deepEqual(calls(), [
      'cuStreamBeginCapture_v2',
      'cuMemsetD32Async',
      'cuStreamEndCapture',
      'cuGraphGetNodes',
      'cuGraphInstantiateWithFlags',
      'cuGraphDestroy',
      'cuGraphLaunch',
      'cuGraphLaunch',
      'cuGraphExecDestroy',
    ])
    fake().fail('cuMemsetD32Async', 1)
    assert.equal(left(gpu.capture(() => gpu.clear(a, 64))).call, 'cuMemsetD32Async')
    assert.deepEqual(calls().slice(-2), ['cuStreamEndCapture', 'cuGraphDestroy'])
    assert.equal(gpu.live().graphs, 0)
    assert.deepEqual(right(gpu.times([() => gpu.clear(a, 4), () => gpu.clear(a, 4)])), [1, 1])
    right(gpu.close())
    assert.equal(fake().live(), 0)
  },
)

test('a hundred sessions leave nothing behind, whatever they left open', { skip }, () => {
  for (let i = 0; i < 100; i++) {
    const gpu = gpuOf()
    const a = right(gpu.allocate(4096))
    right(gpu.pinned(64))
    right(gpu.fence())
    right(right(gpu.module(`source ${i}`, {}, 75)).fn('k__8'))
    right(gpu.capture(() => gpu.clear(a, 4096)))
    assert.deepEqual(gpu.live(), {
      allocations: 1,
      pinned: 1,
      modules: 1,
      graphs: 1,
      fences: 1,
      plans: 0,
    })
    right(gpu.close())
    right(gpu.close())
    assert.deepEqual(Object.values(gpu.live()), [0, 0, 0, 0, 0, 0])
  }
  assert.equal(fake().live(), 0)
})

test(
  'float8 on a card without it: refused before anything is allocated, and the card given back',
  {
    skip,
  },
  () => {
    const p = trained('float8', { _tag: 'none' })
    for (const [arch, instead] of [
      ['compute_75', 'float16'],
      ['compute_80', 'bfloat16'],
    ] as const) {
      const e = left(prepareOn(gpuOf({ arch }), p))
      assert.equal(e.name, 'NO_FLOAT8')
      assert.match(e.hint!, new RegExp(`compute_dtype: ${instead}`))
      assert.equal(fake().live(), 0)
    }
  },
)

test(
  'a lost device: every later call says so, and closing gives the context back',
  { skip },
  () => {
    const gpu = gpuOf()
    const a = right(gpu.allocate(64))
    fake().fail('cuStreamSynchronize', 700)
    const first = left(gpu.synchronize())
    assert.equal(first.name, 'CUDA_ERROR_ILLEGAL_ADDRESS')
    calls()
    for (const r of [
      gpu.clear(a, 64),
      gpu.allocate(1),
      gpu.module('x', {}, 75),
      gpu.replay({ exec: 1n, nodes: 1 }),
    ]) {
      const e = left(r)
      assert.equal(e.name, 'CUDA_ERROR_ILLEGAL_ADDRESS')
      assert.match(
        e.message,
        /the GPU is lost since cuStreamSynchronize answered CUDA_ERROR_ILLEGAL_ADDRESS \(700\)/,
      )
      assert.match(e.hint!, /last checkpoint/)
    }
    assert.deepEqual(calls(), [''], 'a lost device is left alone')
    assert.equal(gpu.lost()!.code, 700)
    right(gpu.close())
    assert.ok(calls().includes('cuDevicePrimaryCtxRelease_v2'))
  },
)
