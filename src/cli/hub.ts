/** What a config names by address is fetched before anything is planned; a config that names files asks nobody. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Config } from '../config/index.ts'
import { adapterRepo } from '../hub/adapter-path.ts'
import { isAddress, modelRepo } from '../hub/address.ts'
import type { FetchOptions } from '../hub/fetch.ts'
import type { Extent } from '../hub/model.ts'
import { hubSettings } from '../hub/settings.ts'
import { one, type Issue, type Issues } from '../issue.ts'
import { isFolderHere, isKnown } from '../models/base.ts'
import { size } from '../report/units.ts'
import type { Terminal } from './terminal.ts'

/** What a command needs: small files to plan with, all that a kept plan tells, or what runs. */
export type Need = 'plan' | 'kept plan' | 'run'

const extentOf = (need: Need): Extent => (need === 'plan' ? 'small' : 'whole')

/** Milliseconds that a broken connection is given at first. */
const PATIENCE = 1000

export const fetchOptions = (t: Terminal): FetchOptions => ({
  settings: hubSettings(),
  onProgress: ({ file, have, of }) => t.status(`fetching ${file}: ${size(have)} of ${size(of)}`),
  patience: PATIENCE,
})

const model = (
  c: Config,
  folder: string,
  need: Need,
  t: Terminal,
): TE.TaskEither<Issue, unknown> => {
  const repo = modelRepo(c.base_model)
  if (repo === null || isFolderHere(c.base_model, folder)) return TE.right(undefined)
  // Shapes that are known need no file to plan with.
  if (need !== 'run' && isKnown(c.base_model)) return TE.right(undefined)
  return async () => {
    const { modelFolder } = await import('../hub/model.ts')
    return modelFolder(repo, extentOf(need), fetchOptions(t))()
  }
}

const adapter = (
  c: Config,
  folder: string,
  need: Need,
  t: Terminal,
): TE.TaskEither<Issue, unknown> => {
  const name = c.adapter?.pretrained_adapter_weights ?? null
  const repo = name === null ? null : adapterRepo(name, folder)
  if (repo === null) return TE.right(undefined)
  return async () => {
    const { adapterFolder } = await import('../hub/model.ts')
    return adapterFolder(repo, extentOf(need), fetchOptions(t))()
  }
}

const dataset = (c: Config, t: Terminal): TE.TaskEither<Issue, unknown> => {
  const name = c.compiler.dataset
  if (name === null || !isAddress(name)) return TE.right(undefined)
  return async () => {
    const { fetchDataset } = await import('../hub/data.ts')
    return fetchDataset(name, fetchOptions(t))()
  }
}

/** Base, adapter and data are here afterwards, as far as they have addresses. Left: their hub gives them not. */
export const obtained = (
  c: Config,
  folder: string,
  need: Need,
  t: Terminal,
): TE.TaskEither<Issues, void> =>
  pipe(
    model(c, folder, need, t),
    TE.chain(() => adapter(c, folder, need, t)),
    TE.chain(() => dataset(c, t)),
    TE.bimap(one, () => t.status(null)),
    TE.mapLeft((issues) => (t.status(null), issues)),
  )
