/** Which architecture to compile for, and whether a kernel can run there. */
import * as E from 'fp-ts/lib/Either.js'
import type { Kernel } from '../launch.ts'
import { type Cuda, cudaError, OWN } from './error.ts'

/** `sm_90a`, `sm_80`; or `compute_75`, PTX that the driver compiles for the card it finds. */
export type Arch = string

/** 90 of `sm_90a` and `compute_90`. */
export const capabilityOf = (arch: Arch): number =>
  Number(/^(?:sm|compute)_(\d+)a?$/.exec(arch)?.[1])

/** Hopper's own instructions exist in sm_90a alone. */
const real = (capability: number): Arch => (capability === 90 ? 'sm_90a' : `sm_${capability}`)

/**
 * The card's own architecture where NVRTC knows it, else PTX of the newest older one it knows.
 * `supported` are NVRTC's: 75, 80, … 120.
 */
export const archFor = (capability: number, supported: ReadonlyArray<number>): Cuda<Arch> => {
  if (capability < 75)
    return E.left(
      cudaError(
        'arch',
        OWN,
        'GPU_TOO_OLD',
        `the GPU has compute capability ${capabilityText(capability)}; 7.5 (Turing) is the oldest that works`,
        'use a GPU of the Turing generation or later, or compiler.backend: onnx',
      ),
    )
  if (supported.includes(capability)) return E.right(real(capability))
  const older = supported.filter((s) => s < capability)
  return older.length === 0
    ? E.left(
        cudaError(
          'arch',
          OWN,
          'NVRTC_TOO_OLD',
          `NVRTC compiles for ${supported.map(capabilityText).join(', ')}, not for the GPU's ${capabilityText(capability)}`,
          'run `npm run setup:cuda`, which fetches another NVRTC',
        ),
      )
    : E.right(`compute_${Math.max(...older)}`)
}

/** 9.0 of 90. */
export const capabilityText = (capability: number): string =>
  `${Math.floor(capability / 10)}.${capability % 10}`

/** Whether a kernel's instructions exist in an architecture. */
export const runsOn = (arch: Arch, needs: Kernel['needs']): boolean =>
  needs === '90a' ? arch === 'sm_90a' : capabilityOf(arch) >= needs
