/** A lost device stays lost: after an error that the driver never forgets, every later call answers with it. */
import * as E from 'fp-ts/lib/Either.js'
import type { Driver } from './driver.ts'
import { type Cuda, type CudaError, cudaError, isFatal, reboot } from './error.ts'

export interface Guard {
  readonly driver: Driver
  readonly lost: () => CudaError | null
  /** Runs what does not go through the driver object, unless the device is lost. */
  readonly alive: <T>(f: () => Cuda<T>) => Cuda<T>
}

const AGAIN = 'checkpoints on disk are good: start again from the last checkpoint'

const later = (call: string, first: CudaError): CudaError =>
  cudaError(
    call,
    first.code,
    first.name,
    `the GPU is lost since ${first.call} answered ${first.name} (${first.code}); what is on the device is gone`,
    first.hint,
  )

export const guarded = (driver: Driver): Guard => {
  let lost: CudaError | null = null
  const watch = <T>(r: Cuda<T>): Cuda<T> => {
    if (E.isRight(r) || !isFatal(r.left)) return r
    lost ??= { ...r.left, hint: `${AGAIN}; ${r.left.hint ?? reboot}` }
    return E.left(lost)
  }
  return {
    driver: {
      ...driver,
      call: (name, ...args) =>
        lost === null ? watch(driver.call(name, ...args)) : E.left(later(name, lost)),
    },
    lost: () => lost,
    alive: (f) => (lost === null ? watch(f()) : E.left(later('gpu', lost))),
  }
}
