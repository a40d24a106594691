/** What a CUDA library answered, as a value: the call, its code and name, and how to mend it. */
import * as E from 'fp-ts/lib/Either.js'

export interface CudaError {
  readonly _tag: 'CudaError'
  /** The function that failed, or the step where no function could be called: `load`, `symbol`. */
  readonly call: string
  readonly code: number
  /** `CUDA_ERROR_OUT_OF_MEMORY`, `NVRTC_ERROR_COMPILATION`, `CUBLAS_STATUS_NOT_SUPPORTED`, `LIBRARY_NOT_FOUND`. */
  readonly name: string
  readonly message: string
  readonly hint?: string
}

export type Cuda<T> = E.Either<CudaError, T>

/** Codes of this runtime's own findings, which no library gives. */
export const OWN = -1

export const cudaError = (
  call: string,
  code: number,
  name: string,
  message: string,
  hint?: string,
): CudaError => ({
  _tag: 'CudaError',
  call,
  code,
  name,
  message,
  ...(hint === undefined ? {} : { hint }),
})

export const done: Cuda<void> = E.right(undefined)

/** Runs the steps one after the other until one fails. */
export const inOrder = (steps: ReadonlyArray<() => Cuda<unknown>>): Cuda<void> => {
  for (const step of steps) {
    const r = step()
    if (E.isLeft(r)) return r
  }
  return done
}

/** Maps until one fails. */
export const each = <A, B>(
  xs: ReadonlyArray<A>,
  f: (x: A, i: number) => Cuda<B>,
): Cuda<ReadonlyArray<B>> => {
  const out: Array<B> = []
  for (const [i, x] of xs.entries()) {
    const r = f(x, i)
    if (E.isLeft(r)) return r
    out.push(r.right)
  }
  return E.right(out)
}

/** The result and, whatever it is, the clean-up; the first error wins. */
export const ending = <T>(result: Cuda<T>, cleanUp: () => Cuda<unknown>): Cuda<T> => {
  const after = cleanUp()
  return E.isLeft(result) || E.isRight(after) ? result : after
}

/** After these nothing works in this process's context: the driver says so at every later call. */
const FATAL: ReadonlySet<number> = new Set([
  4, 46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999,
])

export const isFatal = (e: CudaError): boolean =>
  e.name.startsWith('CUDA_ERROR_') && FATAL.has(e.code)

const bug =
  'a kernel went wrong; this is an error of the compiler: report the config with the output of compile --dump-kernels'
/** Of an error without a hint of its own. */
export const reboot = 'nvidia-smi shows the state of the card; a restart of the machine clears it'

const hints: Readonly<Record<string, string>> = {
  CUDA_ERROR_STUB_LIBRARY:
    "this libcuda is the toolkit's stub: install the NVIDIA driver, or remove the stubs folder from the library path",
  CUDA_ERROR_OUT_OF_MEMORY: 'nvidia-smi lists the processes that hold memory of the GPU',
  CUDA_ERROR_NO_DEVICE:
    'no NVIDIA GPU is visible: see nvidia-smi, CUDA_VISIBLE_DEVICES, and --gpus of a container',
  CUDA_ERROR_INVALID_DEVICE: 'nvidia-smi -L lists the GPUs of this machine',
  CUDA_ERROR_DEVICE_UNAVAILABLE:
    'another process holds the GPU exclusively (nvidia-smi: compute mode), or it is failing',
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    'the driver is older than the NVRTC that wrote the PTX: update the driver, or run `npm run setup:cuda`, which fetches the NVRTC of its version',
  CUDA_ERROR_NO_BINARY_FOR_GPU: 'the module was compiled for another architecture than this GPU',
  CUDA_ERROR_INVALID_IMAGE:
    'the driver does not know this binary: it is older than the NVRTC that made it; update the driver, or run `npm run setup:cuda`',
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    'libcuda and the kernel module are of different versions: restart the machine after a driver update',
  CUDA_ERROR_SYSTEM_NOT_READY: 'a service of the driver does not run yet (nvidia-fabricmanager)',
  CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
    "a compat libcuda is found first, which this GPU does not support: take it off the library path and use the driver's own",
  CUDA_ERROR_UNKNOWN: `the driver failed without a reason, often after a suspend or without /dev/nvidia-uvm; ${reboot}`,
  CUDA_ERROR_ECC_UNCORRECTABLE: `the GPU's memory has an uncorrectable error; ${reboot}`,
  CUDA_ERROR_NVLINK_UNCORRECTABLE: reboot,
  CUDA_ERROR_ILLEGAL_ADDRESS: bug,
  CUDA_ERROR_MISALIGNED_ADDRESS: bug,
  CUDA_ERROR_ILLEGAL_INSTRUCTION: bug,
  CUDA_ERROR_INVALID_ADDRESS_SPACE: bug,
  CUDA_ERROR_INVALID_PC: bug,
  CUDA_ERROR_ASSERT: bug,
  CUDA_ERROR_LAUNCH_FAILED: bug,
  CUDA_ERROR_LAUNCH_TIMEOUT:
    'a kernel ran longer than the display driver allows; use a GPU without a display, or smaller batches',
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES:
    'a kernel needs more registers or shared memory than this GPU gives a block',
}

export const hintFor = (name: string): string | undefined => hints[name]
