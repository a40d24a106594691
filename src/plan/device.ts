/** The GPU that a plan is made for: plain data, so that a plan file can hold it. */
import * as t from 'io-ts'
import { calibrationCodec, h100Calibration } from '../../backends/cuda/calibration.ts'
import { assumed } from '../../backends/cuda/lower/targets.ts'
import type { Config } from '../config/index.ts'

export const deviceCodec = t.type({
  name: t.string,
  target: t.type({ arch: t.number, sms: t.number, shared: t.number }),
  calibration: calibrationCodec,
  /** Whether the rates were measured on it, or are those of an H100. */
  measured: t.boolean,
  /** Bytes that were free when it was asked; null where it is not here. */
  freeBytes: t.union([t.number, t.null]),
})
export type Device = t.TypeOf<typeof deviceCodec>

/** What `compiler.backend: cuda` is planned for on a machine without a GPU. */
export const assumedDevice: Device = {
  ...assumed,
  calibration: h100Calibration,
  measured: false,
  freeBytes: null,
}

type BackendKey = Config['compiler']['backend']

const used: { readonly [B in BackendKey]: (here: Device | null) => Device | null } = {
  cuda: (here) => here ?? assumedDevice,
  auto: (here) => here,
  onnx: () => null,
  tfjs: (here) => here,
  reference: () => null,
}

/** The GPU that a config's backend runs on, given the one that works here; null: the plan is for a CPU. */
export const deviceFor = (c: Config, here: Device | null): Device | null =>
  used[c.compiler.backend](here)

/** Whether a config's backend asks for the GPU of this machine at all. */
export const asksDevice = (c: Config): boolean => deviceFor(c, assumedDevice) !== null
