/** Puts a kernel on the stream. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Driver, Version } from './driver.ts'
import { type Cuda, cudaError, done, inOrder, OWN } from './error.ts'
import type { Params } from './params.ts'
import { addressOf, aligned } from './stable.ts'

/** A function of a loaded module. */
export interface KernelFunction {
  readonly name: string
  readonly address: bigint
  /** Sizes of its parameters; null where the driver is too old to tell (before CUDA 12.4). */
  readonly sizes: ReadonlyArray<number> | null
  /** Most dynamic shared memory asked for so far; the limit is raised when a launch needs more. */
  shared: number
}

export type Extent = readonly [number, number, number]

/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
const MAX_DYNAMIC_SHARED = 8
/** What a block gets without asking. */
const SHARED_WITHOUT_ASKING = 48 * 1024

/** Raises the limit of dynamic shared memory; to be done before a capture. */
export const allowShared = (d: Driver, f: KernelFunction, bytes: number): Cuda<void> =>
  bytes <= Math.max(SHARED_WITHOUT_ASKING, f.shared)
    ? done
    : pipe(
        d.call('cuFuncSetAttribute', f.address, MAX_DYNAMIC_SHARED, bytes),
        E.map(() => {
          f.shared = bytes
        }),
      )

const shapeOf = (sizes: ReadonlyArray<number>): string => `(${sizes.join(', ')})`

/** The kernel's own parameters must be what is passed: the driver would read past the end of a short list. */
const fits = (f: KernelFunction, p: Params): Cuda<void> => {
  const given = p.fields.map((x) => x.size)
  return f.sizes === null || shapeOf(f.sizes) === shapeOf(given)
    ? done
    : E.left(
        cudaError(
          'cuLaunchKernel',
          OWN,
          'WRONG_PARAMETERS',
          `${f.name} takes parameters of ${shapeOf(f.sizes)} bytes and is given ${shapeOf(given)}`,
        ),
      )
}

/** Hopper on, and a driver that captures such launches into graphs (CUDA 12.3). */
export const overlapping = ({ major, minor }: Version, capability: number): boolean =>
  capability >= 90 && (major > 12 || minor >= 3)

/** CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION. */
const PROGRAMMATIC = 6
const ATTRIBUTE_BYTES = 72
const CONFIG_BYTES = 56

/** A CUlaunchConfig and behind it its one attribute: the kernel may begin before the one ahead has ended. */
const earlyConfig = (grid: Extent, block: Extent, shared: number, stream: bigint): Buffer => {
  const b = aligned(CONFIG_BYTES + ATTRIBUTE_BYTES, 16)
  ;[...grid, ...block, shared].forEach((x, i) => b.writeUInt32LE(x, 4 * i))
  b.writeBigUInt64LE(stream, 32)
  b.writeBigUInt64LE(addressOf(b) + BigInt(CONFIG_BYTES), 40)
  b.writeUInt32LE(1, 48)
  b.writeUInt32LE(PROGRAMMATIC, CONFIG_BYTES)
  b.writeUInt32LE(1, CONFIG_BYTES + 8)
  return b
}

export const launchKernel = (
  d: Driver,
  stream: bigint,
  f: KernelFunction,
  grid: Extent,
  block: Extent,
  shared: number,
  p: Params,
  early: boolean,
): Cuda<void> =>
  inOrder([
    () => fits(f, p),
    () => allowShared(d, f, shared),
    () => {
      // One pointer a parameter: the driver knows each one's size and place from the kernel itself.
      const at = addressOf(p.bytes)
      const pointers = BigUint64Array.from(p.fields, (x) => at + BigInt(x.offset))
      const params = p.fields.length === 0 ? null : pointers
      if (early)
        return d.call(
          'cuLaunchKernelEx',
          earlyConfig(grid, block, shared, stream),
          f.address,
          params,
          null,
        )
      return d.call('cuLaunchKernel', f.address, ...grid, ...block, shared, stream, params, null)
    },
  ])
