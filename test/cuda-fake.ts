/** A driver, an NVRTC and a cuBLASLt without a GPU: compiled from C into a folder of their own. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import koffi from 'koffi'
import type { Backend } from '../backends/backend.ts'
import { asBackendError } from '../backends/cuda/failure.ts'
import { cuda, targetOf } from '../backends/cuda/index.ts'
import { lower, type Lowered } from '../backends/cuda/lower/lower.ts'
import { openSession, type CudaSession } from '../backends/cuda/session.ts'
import { openDriver } from '../backends/cuda/driver/driver.ts'
import { type Gpu, openGpu, type Options } from '../backends/cuda/driver/gpu.ts'
import { driverHost } from '../backends/cuda/driver/host.ts'
import type { Where } from '../backends/cuda/driver/places.ts'
import type { Program } from '../ir/graph.ts'
import { right } from './right.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures')

const build = (folder: string): string | null => {
  try {
    const sources = ['fake-cuda.c', 'fake-blaslt.c'].map((f) => path.join(fixtures, f))
    execFileSync(
      'cc',
      ['-shared', '-fPIC', '-O1', '-o', path.join(folder, 'libcuda.so.1'), ...sources],
      {
        stdio: 'pipe',
      },
    )
    for (const name of ['libnvrtc.so.13', 'libcublasLt.so.13'])
      fs.symlinkSync('libcuda.so.1', path.join(folder, name))
    return null
  } catch (e) {
    return `no C compiler makes the fake driver: ${(e as Error).message.split('\n')[0]}`
  }
}

export const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-fake-cuda-'))
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))

/** Why tests with the fake cannot run here. */
export const missing = build(folder)

/** Looks nowhere but in the fake's folder, or nowhere at all. */
export const only = (override: string | undefined): Where => ({
  override,
  cwd: folder,
  here: folder,
  root: path.join(folder, 'nowhere'),
  loader: false,
})

const functions = () => {
  const lib = koffi.load(path.join(folder, 'libcuda.so.1'))
  return {
    reset: lib.func('fake_reset', 'void', ['int', 'int', 'uint64_t']),
    fail: lib.func('fake_fail', 'void', ['const char *', 'int']),
    memory: lib.func('fake_memory', 'void', ['uint64_t']),
    live: lib.func('fake_live', 'int', []),
    onLaunch: lib.func('fake_on_launch', 'void', [
      koffi.pointer(koffi.proto('void fake_launched(uint64_t)')),
    ]),
    log: lib.func('fake_log', 'const char *', []),
    forget: lib.func('fake_forget', 'void', []),
    blasLive: lib.func('fake_blas_live', 'int', []),
    alignment: lib.func('fake_blas_alignment', 'int', ['int']),
    chosen: lib.func('fake_blas_chosen', 'uint64_t', []),
    setting: lib.func('fake_blas_setting', 'uint64_t', ['uint64_t', 'int']),
    matmuls: lib.func('fake_blas_matmuls', 'int', []),
  }
}
let bound: ReturnType<typeof functions> | null = null

export const fake = (): ReturnType<typeof functions> => (bound ??= functions())

/** Calls since the log was emptied, each with what the fake noted of it. */
export const calls = (): ReadonlyArray<string> => {
  const lines = String(fake().log()).trimEnd().split('\n')
  fake().forget()
  return lines
}

/** A fresh fake with one GPU of 1 GiB. */
export const gpuOf = (options: Partial<Options> = {}): Gpu => {
  fake().reset(1, 13000, 2 ** 30)
  const where = only(folder)
  const host = right(driverHost(right(openDriver(where)), 0))
  return right(openGpu(host, { cacheDir: null, where, ...options }))
}

const lowered = new WeakMap<Program, Lowered>()

/** The cuda backend whole, over the fake: its kernels do nothing, all else is done. `memory`: bytes that the device has. */
export const fakeBackend = (
  watch: (s: CudaSession) => void = () => undefined,
  memory = 2 ** 30,
): Backend => ({
  ...cuda,
  diagnose: async () => null,
  prepare: (p) => async () => {
    const gpu = gpuOf()
    fake().memory(memory)
    const l = lowered.get(p) ?? lower(p, targetOf(gpu))
    lowered.set(p, l)
    return E.bimap(asBackendError, (s: CudaSession) => {
      watch(s)
      return s
    })(openSession(gpu, l))
  },
})
