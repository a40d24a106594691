/** What a GPU is. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Driver, handle, int } from './driver.ts'
import { type Cuda, cudaError, each, hintFor } from './error.ts'

export interface DeviceInfo {
  readonly index: number
  readonly name: string
  /** Compute capability: 90 for 9.0, 120 for 12.0. */
  readonly capability: number
  readonly multiprocessors: number
  /** Bytes of dynamic shared memory that a block can ask for. */
  readonly sharedPerBlock: number
  readonly sharedPerMultiprocessor: number
  readonly registersPerMultiprocessor: number
  readonly threadsPerMultiprocessor: number
  readonly l2Bytes: number
  /** Zero where the driver does not tell. */
  readonly clockKHz: number
  readonly memoryClockKHz: number
  readonly memoryBusBits: number
  readonly memoryBytes: number
}

/** CU_DEVICE_ATTRIBUTE_* of cuda.h. */
const ATTRIBUTE = {
  clockKHz: 13,
  multiprocessors: 16,
  memoryClockKHz: 36,
  memoryBusBits: 37,
  l2Bytes: 38,
  threadsPerMultiprocessor: 39,
  major: 75,
  minor: 76,
  sharedPerMultiprocessor: 81,
  registersPerMultiprocessor: 82,
  sharedPerBlock: 97,
} as const

type Attribute = keyof typeof ATTRIBUTE
const attributes = Object.keys(ATTRIBUTE) as ReadonlyArray<Attribute>

export const deviceCount = (d: Driver): Cuda<number> =>
  int((out) => d.call('cuDeviceGetCount', out))

const nameOf = (d: Driver, device: number): Cuda<string> => {
  const out = Buffer.alloc(256)
  return pipe(
    d.call('cuDeviceGetName', out, out.length, device),
    E.map(() => out.subarray(0, out.indexOf(0)).toString('utf8')),
  )
}

/** The driver's number of a GPU, which is its index where nothing is hidden. */
export const deviceAt = (d: Driver, index: number): Cuda<number> =>
  pipe(
    deviceCount(d),
    E.filterOrElse(
      (n) => n > 0,
      () =>
        cudaError(
          'cuDeviceGetCount',
          100,
          'CUDA_ERROR_NO_DEVICE',
          'the driver works but shows no GPU',
          hintFor('CUDA_ERROR_NO_DEVICE'),
        ),
    ),
    E.filterOrElse(
      (n) => index >= 0 && index < n,
      (n) =>
        cudaError(
          'cuDeviceGet',
          101,
          'CUDA_ERROR_INVALID_DEVICE',
          `there is no GPU ${index}: the driver shows ${n}, counted from 0`,
          hintFor('CUDA_ERROR_INVALID_DEVICE'),
        ),
    ),
    E.chain(() => int((out) => d.call('cuDeviceGet', out, index))),
  )

export const deviceInfo = (d: Driver, index: number): Cuda<DeviceInfo> =>
  pipe(
    deviceAt(d, index),
    E.chain((device) =>
      pipe(
        each(attributes, (a) =>
          int((out) => d.call('cuDeviceGetAttribute', out, ATTRIBUTE[a], device)),
        ),
        E.bindTo('values'),
        E.bind('name', () => nameOf(d, device)),
        E.bind('bytes', () => handle((out) => d.call('cuDeviceTotalMem_v2', out, device))),
      ),
    ),
    E.map(({ values, name, bytes }) => {
      const { major, minor, ...rest } = Object.fromEntries(
        attributes.map((a, i) => [a, values[i]!]),
      ) as Record<Attribute, number>
      return { index, name, capability: major * 10 + minor, memoryBytes: Number(bytes), ...rest }
    }),
  )
