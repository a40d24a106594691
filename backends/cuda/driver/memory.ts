/** Bytes to, from and within the device, in the order of the stream. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Driver, handle } from './driver.ts'
import { type Cuda, type CudaError, cudaError, done } from './error.ts'
import { viewOf } from './stable.ts'

export interface Room {
  readonly free: number
  readonly total: number
}

export const roomOf = (d: Driver): Cuda<Room> => {
  const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)]
  return pipe(
    d.call('cuMemGetInfo_v2', free, total),
    E.map(() => ({ free: Number(free[0]), total: Number(total[0]) })),
  )
}

const gigabytes = (n: number): string => `${(n / 1e9).toFixed(2)} GB`

/** Says how much was asked for, is free, and is held by this session and by others. */
export const outOfMemory = (
  e: CudaError,
  asked: number,
  held: number,
  room: Cuda<Room>,
): CudaError =>
  e.name !== 'CUDA_ERROR_OUT_OF_MEMORY' || E.isLeft(room)
    ? e
    : cudaError(
        e.call,
        e.code,
        e.name,
        `the GPU has no ${gigabytes(asked)} left: ${gigabytes(room.right.free)} of ${gigabytes(room.right.total)} are free, ` +
          `this session holds ${gigabytes(held)}, other processes and the driver ${gigabytes(Math.max(0, room.right.total - room.right.free - held))}`,
        'nvidia-smi lists the processes that hold memory; a smaller memory_budget, batch_size or sequence length needs less',
      )

/** Host memory that the device reads and writes directly. */
export interface Pinned {
  readonly address: bigint
  /** The memory itself; not to be touched after it is freed. */
  readonly bytes: Uint8Array
}

export const allocatePinned = (d: Driver, bytes: number): Cuda<Pinned> =>
  pipe(
    handle((out) => d.call('cuMemAllocHost_v2', out, bytes)),
    E.map((address) => ({ address, bytes: viewOf(address, bytes) })),
  )

/** Runs asynchronous copies and waits: the bytes may change or go as soon as this returns. */
const waited = (d: Driver, stream: bigint, copy: Cuda<void>): Cuda<void> =>
  pipe(
    copy,
    E.chain(() => d.call('cuStreamSynchronize', stream)),
  )

export const copyIn = (d: Driver, stream: bigint, to: bigint, bytes: Uint8Array): Cuda<void> =>
  bytes.byteLength === 0
    ? done
    : waited(d, stream, d.call('cuMemcpyHtoDAsync_v2', to, bytes, bytes.byteLength, stream))

export const copyOut = (d: Driver, stream: bigint, bytes: Uint8Array, from: bigint): Cuda<void> =>
  bytes.byteLength === 0
    ? done
    : waited(d, stream, d.call('cuMemcpyDtoHAsync_v2', bytes, from, bytes.byteLength, stream))

/** From pinned memory, without waiting. */
export const sendPinned = (
  d: Driver,
  stream: bigint,
  to: bigint,
  from: Pinned,
  offset: number,
  length: number,
): Cuda<void> =>
  length === 0
    ? done
    : d.call('cuMemcpyHtoDAsync_v2', to, from.address + BigInt(offset), length, stream)

/** To pinned memory, without waiting. */
export const fetchPinned = (
  d: Driver,
  stream: bigint,
  to: Pinned,
  offset: number,
  from: bigint,
  length: number,
): Cuda<void> =>
  length === 0
    ? done
    : d.call('cuMemcpyDtoHAsync_v2', to.address + BigInt(offset), from, length, stream)

export const copyWithin = (
  d: Driver,
  stream: bigint,
  to: bigint,
  from: bigint,
  length: number,
): Cuda<void> => (length === 0 ? done : d.call('cuMemcpyDtoDAsync_v2', to, from, length, stream))

export const clear = (d: Driver, stream: bigint, at: bigint, length: number): Cuda<void> =>
  length === 0
    ? done
    : at % 4n === 0n && length % 4 === 0
      ? d.call('cuMemsetD32Async', at, 0, length / 4, stream)
      : d.call('cuMemsetD8Async', at, 0, length, stream)
