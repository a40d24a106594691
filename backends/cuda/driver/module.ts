/** A compiled module on the device and its functions. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Driver, handle } from './driver.ts'
import type { Cuda } from './error.ts'
import type { KernelFunction } from './launch.ts'
import { aligned } from './stable.ts'

/** Size of each parameter: the driver says CUDA_ERROR_INVALID_VALUE past the last one. */
const sizesOf = (d: Driver, f: bigint): ReadonlyArray<number> | null => {
  const [offset, size] = [new BigUint64Array(1), new BigUint64Array(1)]
  const sizes: Array<number> = []
  for (;;) {
    const r = d.call('cuFuncGetParamInfo', f, sizes.length, offset, size)
    if (E.isLeft(r)) return r.left.name === 'CUDA_ERROR_INVALID_VALUE' ? sizes : null
    sizes.push(Number(size[0]))
  }
}

export const functionOf = (d: Driver, module: bigint, name: string): Cuda<KernelFunction> =>
  pipe(
    handle((out) => d.call('cuModuleGetFunction', out, module, name)),
    E.map((address) => ({ name, address, sizes: sizesOf(d, address), shared: 0 })),
  )

/** The image is copied to an aligned place: out of the cache it lies anywhere. */
export const loadModule = (d: Driver, image: Buffer): Cuda<bigint> => {
  const whole = aligned(image.length, 64)
  image.copy(whole)
  return handle((out) => d.call('cuModuleLoadData', out, whole))
}

export const unloadModule = (d: Driver, module: bigint): Cuda<void> =>
  d.call('cuModuleUnload', module)
