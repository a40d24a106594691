/** Calibration over a fake driver: it gives back all it took, keeps what it measured, and does without where it cannot. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { calibrate } from '../backends/cuda/calibrate.ts'
import { h100Calibration, secondsOf } from '../backends/cuda/calibration.ts'
import { readCalibration, writeCalibration } from '../backends/cuda/here.ts'
import type { Launch } from '../backends/cuda/launch.ts'
import { inFolder } from './cli-child.ts'
import { fake, gpuOf, missing } from './cuda-fake.ts'
import { right } from './right.ts'

const skip = missing ?? false

test('rates and context are measured, and nothing stays behind', { skip }, () => {
  const gpu = gpuOf()
  const c = right(calibrate(gpu, h100Calibration, { side: 32, warmMs: 1 }))
  for (const rate of [c.copy, ...Object.values(c.products)])
    assert.ok(rate > 0 && Number.isFinite(rate))
  assert.notEqual(c.copy, h100Calibration.copy)
  assert.deepEqual(
    [c.slower, c.gap, c.least],
    [h100Calibration.slower, h100Calibration.gap, h100Calibration.least],
  )
  assert.equal(gpu.live().allocations, 0)
  right(gpu.close())
  assert.equal(fake().live(), 0)
})

test('a card that cannot be measured says why and gives back what it took', { skip }, () => {
  const gpu = gpuOf()
  fake().fail('cuEventElapsedTime', 1)
  const failed = calibrate(gpu, h100Calibration, { side: 32, warmMs: 1 })
  assert.ok(E.isLeft(failed))
  gpu.close()
  assert.equal(fake().live(), 0)
})

test('what was measured is read again; anything else is not taken for it', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'kept', 'calibration.json')
    assert.equal(readCalibration(file), null)
    assert.equal(writeCalibration(file, h100Calibration), null)
    assert.deepEqual(readCalibration(file), h100Calibration)
    for (const broken of ['', '{', '{}', '[]', '{"copy": "fast"}']) {
      fs.writeFileSync(file, broken)
      assert.equal(readCalibration(file), null, broken)
    }
  }))

test('the time of a launch: bytes or operations, its group, its type, and never less than the least', () => {
  const c = {
    ...h100Calibration,
    copy: 1e12,
    products: { f32: 1e14, f16: 2e14, bf16: 4e14 },
    slower: { product: 2, other: 1 },
    gap: 1e-6,
    least: 2e-6,
  }
  const matrix = (dtype: 'f32' | 'bf16') => ({ offset: 0, dtype, rows: 1, columns: 1, ld: 1 })
  const launch = (dtype: 'f32' | 'bf16', bytes: number, flops: number): Launch => ({
    _tag: 'product',
    a: matrix(dtype),
    b: matrix(dtype),
    c: null,
    d: matrix(dtype),
    ta: false,
    tb: false,
    alpha: 1,
    beta: 0,
    bytes,
    flops,
    rule: 'x',
    group: 'product',
    covers: [],
  })
  const close = (l: Launch, seconds: number) =>
    assert.ok(Math.abs(secondsOf(l, c) / seconds - 1) < 1e-12, `${secondsOf(l, c)} ${seconds}`)
  close(launch('bf16', 1e9, 0), 2e-3 + 1e-6)
  close(launch('bf16', 1, 4e12), 2e-2 + 1e-6)
  close(launch('f32', 1, 4e12), 8e-2 + 1e-6)
  close(launch('f32', 1, 1), 3e-6)
  close({ ...launch('f32', 1e9, 0), group: 'unheard of' }, 1e-3 + 1e-6)
})
