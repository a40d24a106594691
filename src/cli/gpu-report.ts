/** What `doctor` says of GPU, driver and CUDA's libraries. */
import * as E from 'fp-ts/lib/Either.js'
import type { CudaError } from '../../backends/cuda/driver/error.ts'
import type { Device, Found, Survey } from '../../backends/cuda/driver/survey.ts'
import { size } from '../report/units.ts'
import type { Terminal } from './terminal.ts'

const gpu = ({ info, memory }: Device): string => {
  const { name, capability, multiprocessors } = info
  const version = `${Math.floor(capability / 10)}.${capability % 10}`
  return `GPU ${info.index}      ${name}, compute capability ${version}, ${multiprocessors} multiprocessors, ${size(memory.free)} of ${size(memory.total)} free`
}

const reason = (e: CudaError): ReadonlyArray<string> =>
  [e.message, ...(e.hint === undefined ? [] : [e.hint])].map((x) => `             ${x}`)

export const gpuLines = (s: Survey, { dim, red }: Terminal['style']): ReadonlyArray<string> => {
  const missing = red('not usable')
  const library = (name: string, found: Survey['driver']): ReadonlyArray<string> =>
    E.match(
      (e: CudaError) => [`  ${name.padEnd(10)} ${missing}`, ...reason(e)],
      (f: Found) => [`  ${name.padEnd(10)} ${f.version}${dim(`  ${f.path}`)}`],
    )(found)
  // Without a driver there is nothing to say of GPUs that the driver's line does not say.
  const devices = E.isLeft(s.driver)
    ? []
    : E.match(
        (e: CudaError) => [`  ${'GPU'.padEnd(10)} ${missing}`, ...reason(e)],
        (all: ReadonlyArray<Device>) =>
          all.length === 0
            ? [`  ${'GPU'.padEnd(10)} ${missing}`, '             the driver shows none']
            : all.map((d) => `  ${gpu(d)}`),
      )(s.devices)
  return [
    ...library('driver', s.driver),
    ...devices,
    ...library('NVRTC', s.nvrtc),
    ...library('cuBLASLt', s.blaslt),
  ]
}

/** The lines for this machine; where not even the way to the libraries loads, why. */
export const surveyed = async (style: Terminal['style']): Promise<ReadonlyArray<string>> => {
  try {
    const { survey } = await import('../../backends/cuda/driver/survey.ts')
    const { whereOf } = await import('../../backends/cuda/driver/places.ts')
    return gpuLines(survey(whereOf(process.env, process.cwd())), style)
  } catch (e) {
    const why = e instanceof Error ? e.message.split('\n')[0]! : String(e)
    return [`  ${style.red('not usable')}: koffi cannot be loaded: ${why}`]
  }
}
