/** What `doctor` says of GPU, driver and libraries: with them, without each of them, and never a stack trace. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { openDriver } from '../backends/cuda/driver/driver.ts'
import { folders, type Where } from '../backends/cuda/driver/places.ts'
import { survey } from '../backends/cuda/driver/survey.ts'
import { gpuLines } from '../src/cli/gpu-report.ts'
import { plain } from '../src/report/style.ts'
import { fake, folder, missing, only } from './cuda-fake.ts'

const skip = missing ?? false
const said = (w: Where): string => gpuLines(survey(w), plain).join('\n')
const noTrace = /^\s+at |undefined|\[object/m

test('doctor: driver, GPU with free memory, libraries with versions and paths', { skip }, () => {
  fake().reset(2, 13000, 4e9)
  const text = said(only(folder))
  const lines = text.split('\n')
  assert.equal(lines.length, 5)
  assert.match(lines[0]!, /^ {2}driver +.*CUDA 13\.0 {2}\S+libcuda\.so\.1$/)
  for (const i of [0, 1])
    assert.equal(
      lines[1 + i],
      `  GPU ${i}      Fake H100, compute capability 9.0, 132 multiprocessors, 4.00 GB of 4.00 GB free`,
    )
  assert.match(lines[3]!, /^ {2}NVRTC +13\.0 {2}\S+libnvrtc\.so\.13$/)
  assert.match(lines[4]!, /^ {2}cuBLASLt +13\.2\.0 {2}\S+libcublasLt\.so\.13$/)
  assert.equal(fake().live(), 0)
})

test('doctor without anything: each library with what to install', () => {
  const text = said(only(undefined))
  for (const name of ['driver', 'NVRTC', 'cuBLASLt'])
    assert.match(
      text,
      new RegExp(`^  ${name} +not usable\\n {13}\\S.* is not found; tried .*\\n {13}\\S`, 'm'),
    )
  assert.doesNotMatch(text, /GPU 0/)
  assert.doesNotMatch(text, noTrace)
})

test('doctor with a driver that shows no GPU, or one whose memory others hold', { skip }, () => {
  for (const devices of [0, -1]) {
    fake().reset(devices, 13000, 0)
    const text = said(only(folder))
    assert.match(text, /^ {2}GPU +not usable\n/m)
    assert.doesNotMatch(text, noTrace)
  }
  fake().reset(1, 13000, 4e9)
  fake().fail('cuDevicePrimaryCtxRetain', 2)
  assert.match(said(only(folder)), /CUDA_ERROR_OUT_OF_MEMORY[^]*nvidia-smi lists the processes/)
  fake().fail('cuStreamCreate', 2)
  said(only(folder))
  assert.equal(fake().live(), 0, 'a context without its stream is given back')
})

test('places: the override, .cuda, the system, toolkits, and the wheels of the python on PATH', () => {
  const root = fs.mkdtempSync(path.join(folder, 'root-'))
  const made = [
    'mine',
    'project/.cuda/nvidia/cu13/lib',
    'project/.cuda/nvidia/cublas/lib',
    'usr/local/nvidia/lib64',
    'usr/local/cuda/lib64',
    'usr/local/cuda-12.4/targets/x86_64-linux/lib',
    'usr/local/cuda-13.0/lib64',
    'usr/lib/x86_64-linux-gnu',
    'conda/lib',
    'env/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib',
    'opt/python/lib/python3.11/site-packages/nvidia/cu13/lib',
    'home/.local/lib/python3.10/site-packages/nvidia/cublas/lib',
  ].map((d) => path.join(root, d))
  for (const d of made) fs.mkdirSync(d, { recursive: true })
  for (const d of ['opt/python/bin', 'bin']) fs.mkdirSync(path.join(root, d), { recursive: true })
  fs.writeFileSync(path.join(root, 'opt/python/bin/python3'), '')
  fs.symlinkSync('../opt/python/bin/python3', path.join(root, 'bin/python3'))
  const at = (d: string) => path.join(root, d)
  const where: Where = {
    override: at('mine'),
    cwd: at('project'),
    here: at('nowhere'),
    home: at('home'),
    path: at('bin'),
    virtualEnv: at('env'),
    conda: at('conda'),
    root,
    loader: false,
  }
  const order = [0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10, 11]
  assert.deepEqual(
    folders(where),
    order.map((i) => made[i]),
  )
  fs.writeFileSync(path.join(made[0]!, 'libcuda.so.1'), 'no library')
  const broken = openDriver(where)
  assert.ok(E.isLeft(broken))
  assert.match(broken.left.message, /mine\/libcuda\.so\.1: Failed to load shared library/)
})
