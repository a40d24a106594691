/** The GPU of this machine, asked only by who needs it: the way to the driver is loaded here and not before. */
import * as E from 'fp-ts/lib/Either.js'
import type { CardHere } from '../../backends/cuda/here.ts'
import type { Config } from '../config/index.ts'
import { asksDevice, deviceFor, type Device } from '../plan/device.ts'
import type { Options } from './command.ts'
import { backendIn } from './engine.ts'

/** Left: why no GPU works here. */
export const cardHere = async (): Promise<E.Either<string, CardHere>> => {
  try {
    const { cardHere: ask } = await import('../../backends/cuda/here.ts')
    return E.mapLeft((e: { readonly message: string }) => e.message)(ask())
  } catch (e) {
    return E.left(`koffi cannot be loaded: ${e instanceof Error ? e.message : String(e)}`)
  }
}

/** What a config, or `--backend` in its place, is planned for; a GPU is asked only where one may be used. */
export const deviceHere = async (c: Config, o: Options): Promise<Device | null> => {
  const asked: Config = { ...c, compiler: { ...c.compiler, backend: backendIn(o, c) } }
  if (!asksDevice(asked)) return null
  const here = await cardHere()
  return deviceFor(asked, E.isRight(here) ? here.right : null)
}
