/** Modules of a session: compiled through the cache, loaded once, their functions found by name. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Kernel } from '../launch.ts'
import { type Arch, runsOn } from './arch.ts'
import { compileCached, keyOf } from './cache.ts'
import type { Driver } from './driver.ts'
import { type Cuda, cudaError, OWN } from './error.ts'
import type { Held } from './held.ts'
import type { KernelFunction } from './launch.ts'
import { functionOf, loadModule, unloadModule } from './module.ts'
import type { Defines, Nvrtc } from './nvrtc.ts'

/** A loaded module. */
export interface Kernels {
  readonly fn: (name: string) => Cuda<KernelFunction>
  /** Warnings of the compiler and of the cache. */
  readonly notices: ReadonlyArray<string>
  readonly cached: boolean
}

const warnings = (log: string): ReadonlyArray<string> =>
  log.split('\n').filter((line) => /warning|C75\d\d/.test(line))

/** Loaded modules by what they were compiled from, functions by their names. */
export const moduleLoader = (
  driver: Driver,
  held: Held,
  nvrtc: Nvrtc,
  arch: Arch,
  folder: string | null,
) => {
  const known = new Map<string, Kernels>()
  const kernels = (m: bigint): Kernels['fn'] => {
    const functions = new Map<string, KernelFunction>()
    return (name) => {
      const f = functions.get(name)
      if (f !== undefined) return E.right(f)
      return pipe(
        functionOf(driver, m, name),
        E.map((made) => {
          functions.set(name, made)
          return made
        }),
      )
    }
  }
  return (source: string, defines: Defines, needs: Kernel['needs']): Cuda<Kernels> => {
    const unit = { source, defines, arch, options: [] }
    const key = keyOf(nvrtc, unit)
    const loaded = known.get(key)
    if (!runsOn(arch, needs))
      return E.left(
        cudaError(
          'module',
          OWN,
          'WRONG_ARCH',
          `a kernel that needs ${needs} does not run on ${arch}`,
        ),
      )
    if (loaded !== undefined) return E.right(loaded)
    return pipe(
      compileCached(nvrtc, folder, unit),
      E.chain((made) =>
        pipe(
          held.keep(
            'modules',
            loadModule(driver, made.image),
            (m) => m,
            (m) => unloadModule(driver, m),
          ),
          E.map((m): Kernels => {
            const notices = [...warnings(made.log), ...made.notices]
            const module = { fn: kernels(m), notices, cached: made.cached }
            known.set(key, module)
            return module
          }),
        ),
      ),
    )
  }
}
