/** A compiled plan inside TensorFlow: its arena is a tensor of TensorFlow's, its functions are ops that launch the compiler's own graphs. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { deviceInfo } from '../cuda/driver/device.ts'
import { cudaError, done, OWN, type Cuda, type CudaError } from '../cuda/driver/error.ts'
import type { Gpu } from '../cuda/driver/gpu.ts'
import type { Host as CudaHost } from '../cuda/driver/host.ts'
import { wrapped } from './cells.ts'
import type { Host } from './load.ts'
import type { Plugin } from './plugin.ts'
import { DT, type Attr, type Tensor } from './tf.ts'

export interface TfHost extends CudaHost {
  /** Runs an op of ours on the device; anything but one launch there is an error. */
  readonly launch: (graph: bigint) => Cuda<void>
  /** The tensor at an address that `allocate` gave. */
  readonly tensorAt: (address: bigint) => Tensor | undefined
}

/** TensorFlow's attributes of lists are of 32-bit integers, so a large arena is a matrix. */
const COLUMNS = 1024

const text = (e: unknown): string => (e instanceof Error ? e.message.trim() : String(e))

const attempt = <T>(op: string, body: () => T): Cuda<T> =>
  E.tryCatch(body, (e) => cudaError(op, OWN, 'TENSORFLOW', text(e)))

/** TF_RESOURCE_EXHAUSTED, under the name that the driver has for it. */
const exhausted = (e: CudaError): CudaError =>
  e.message.startsWith('Invalid TF_Status: 8\n')
    ? cudaError(e.call, 2, 'CUDA_ERROR_OUT_OF_MEMORY', e.message)
    : e

/** TensorFlow as the owner of device, memory and stream. */
export const tfHost = (host: Host, plugin: Plugin): Cuda<TfHost> => {
  const { binding, getInputTensorIds } = {
    binding: host.backend.binding,
    getInputTensorIds: (t: Tensor) => host.backend.getInputTensorIds([t])[0]!,
  }
  const tensors = new Map<bigint, Tensor>()
  const int = (name: string, value: unknown): Attr => ({ name, type: binding.TF_ATTR_INT, value })
  const type = (name: string, value: number): Attr => ({ name, type: binding.TF_ATTR_TYPE, value })

  const addressOf = (t: Tensor): bigint => {
    const [at] = binding.executeOp('TunecAddress', [type('T', DT.f32)], [getInputTensorIds(t)], 1)
    const [address] = binding.tensorDataSync(at!.id) as unknown as BigInt64Array
    binding.deleteTensor(at!.id)
    return BigInt.asUintN(64, address!)
  }

  const launch = (graph: bigint): Cuda<void> => {
    const [arena] = tensors.values()
    if (arena === undefined)
      return E.left(cudaError('TunecRun', OWN, 'NO_ARENA', 'nothing is allocated'))
    const before = plugin.counts().launches
    return pipe(
      attempt('TunecRun', () => {
        binding.executeOp('TunecRun', [int('graph', Number(graph))], [getInputTensorIds(arena)], 0)
      }),
      E.filterOrElse(
        () => plugin.counts().launches === before + 1,
        () =>
          cudaError(
            'TunecRun',
            OWN,
            'NOT_ON_DEVICE',
            'TensorFlow did not run the op on the device',
          ),
      ),
    )
  }

  return pipe(
    deviceInfo(plugin.driver, 0),
    E.map((info): TfHost => ({
      info,
      stream: plugin.stream,
      driver: plugin.driver,
      enter: () => plugin.driver.call('cuCtxSetCurrent', plugin.context),
      allocate: (bytes) =>
        pipe(
          attempt('TunecArena', () => {
            const rows = Math.max(1, Math.ceil(bytes / 4 / COLUMNS))
            const attrs = [int('dims', [rows, COLUMNS]), type('dtype', DT.f32)]
            const tensor = wrapped(host, binding.executeOp('TunecArena', attrs, [], 1)[0]!)
            const address = addressOf(tensor)
            tensors.set(address, tensor)
            return address
          }),
          E.mapLeft(exhausted),
        ),
      free: (address) => {
        tensors.get(address)?.dispose()
        tensors.delete(address)
        return done
      },
      // Device, context and stream are TensorFlow's, which stays.
      close: () => {
        for (const t of tensors.values()) t.dispose()
        tensors.clear()
        plugin.trim()
        return done
      },
      launch,
      tensorAt: (address) => tensors.get(address),
    })),
  )
}

/** The GPU of a TensorFlow: as any other, but that graphs are launched by ops. */
export const launchedByOps = (gpu: Gpu, host: TfHost): Gpu => ({
  ...gpu,
  replay: (g) => host.launch(g.exec),
})
