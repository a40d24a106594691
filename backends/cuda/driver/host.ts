/** Who owns device, memory and stream: here the driver itself. Nothing else makes a context, a stream or device memory. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { deviceAt, type DeviceInfo, deviceInfo } from './device.ts'
import { type Driver, handle } from './driver.ts'
import { type Cuda, ending } from './error.ts'

export interface Host {
  readonly info: DeviceInfo
  /** All work goes to this stream. */
  readonly stream: bigint
  readonly driver: Driver
  /** Makes the device the one that this thread's calls go to. */
  readonly enter: () => Cuda<void>
  /** Device memory, aligned to 256 bytes or more. */
  readonly allocate: (bytes: number) => Cuda<bigint>
  readonly free: (address: bigint) => Cuda<void>
  readonly close: () => Cuda<void>
}

/** CU_STREAM_NON_BLOCKING: no other stream of the process makes this one wait. */
const NON_BLOCKING = 1

/** A host that owns the device's primary context and a stream of its own. */
export const driverHost = (driver: Driver, index: number): Cuda<Host> =>
  pipe(
    E.Do,
    E.bind('info', () => deviceInfo(driver, index)),
    E.bind('device', () => deviceAt(driver, index)),
    E.bind('context', ({ device }) =>
      handle((out) => driver.call('cuDevicePrimaryCtxRetain', out, device)),
    ),
    E.chain(({ info, device, context }) => {
      const release = () => driver.call('cuDevicePrimaryCtxRelease_v2', device)
      return pipe(
        driver.call('cuCtxSetCurrent', context),
        E.chain(() => handle((out) => driver.call('cuStreamCreate', out, NON_BLOCKING))),
        E.map((stream): Host => ({
          info,
          stream,
          driver,
          enter: () => driver.call('cuCtxSetCurrent', context),
          allocate: (bytes) => handle((out) => driver.call('cuMemAlloc_v2', out, bytes)),
          free: (address) => driver.call('cuMemFree_v2', address),
          close: () => closing(driver, stream, release),
        })),
        E.mapLeft((e) => {
          release()
          return e
        }),
      )
    }),
  )

/** The context is given back even where the stream cannot be destroyed, as after a lost device. */
const closing = (driver: Driver, stream: bigint, release: () => Cuda<void>): Cuda<void> =>
  ending(driver.call('cuStreamDestroy_v2', stream), release)
