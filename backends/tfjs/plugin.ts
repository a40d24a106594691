/** Our device for TensorFlow (`plugin/`): loaded before the package, asked for its stream and its counts. */
import * as E from 'fp-ts/lib/Either.js'
import type { LibraryHandle } from 'koffi'
import type { Driver } from '../cuda/driver/driver.ts'
import type { Home } from './places.ts'

const COUNTS = ['launches', 'uploads', 'readbacks', 'copies', 'allocated', 'freed'] as const

/** What happened on the device. */
export type Counts = Readonly<Record<(typeof COUNTS)[number], number>>

export interface Plugin {
  readonly driver: Driver
  /** TensorFlow's only stream. */
  readonly stream: bigint
  readonly context: bigint
  readonly counts: () => Counts
  /** Memory that nothing holds any more goes back to the driver, for others to see and take. */
  readonly trim: () => void
}

type Load = (library: string, deep: boolean) => LibraryHandle

const call = <T>(
  lib: LibraryHandle,
  name: string,
  result: string,
  ...args: ReadonlyArray<string>
) => lib.func(name, result, [...args]) as (...values: ReadonlyArray<unknown>) => T

/** Left: why the device cannot be had. `libraries` are TensorFlow's, in the order in which they were loaded. */
export const openPlugin = (
  load: Load,
  home: Home,
  [framework, cc]: ReadonlyArray<LibraryHandle>,
  driver: Driver,
): E.Either<string, Plugin> => {
  if (home.plugin === null || framework === undefined || cc === undefined)
    return E.left(
      'this machine has a GPU, and the plugin that gives it to TensorFlow is not built; CUDA_VISIBLE_DEVICES=-1 hides the GPU, TensorFlow then runs on the CPU',
    )
  const lib = load(home.plugin, false)
  if (call<number>(lib, 'tunec_open', 'int', 'const char *', 'int')(driver.path, 0) === 0)
    return E.left(`the GPU cannot be opened: ${call<string>(lib, 'tunec_why', 'const char *')()}`)
  const status = call<bigint>(framework, 'TF_NewStatus', 'uintptr_t')()
  call(
    cc,
    'TF_LoadPluggableDeviceLibrary',
    'uintptr_t',
    'const char *',
    'uintptr_t',
  )(home.plugin, status)
  if (call<number>(framework, 'TF_GetCode', 'int', 'uintptr_t')(status) !== 0)
    return E.left(
      `TensorFlow refuses the plugin: ${call<string>(framework, 'TF_Message', 'const char *', 'uintptr_t')(status)}`,
    )
  const counts = call<void>(lib, 'tunec_counts', 'void', 'uint64_t *')
  const trim = call<number>(lib, 'tunec_trim', 'int')
  return E.right({
    driver,
    stream: BigInt(call<number | bigint>(lib, 'tunec_stream', 'uint64_t')()),
    context: BigInt(call<number | bigint>(lib, 'tunec_context', 'uint64_t')()),
    trim: () => {
      trim()
    },
    counts: () => {
      const out = new BigUint64Array(COUNTS.length)
      counts(out)
      return Object.fromEntries(COUNTS.map((c, i) => [c, Number(out[i])])) as Counts
    },
  })
}
