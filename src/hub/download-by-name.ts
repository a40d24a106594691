/** What a name on a hub means, fetched: a model whole, or a file of a dataset. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { datasetFile, modelRepo } from './address.ts'
import { renewDataset } from './data.ts'
import type { FetchOptions } from './fetch.ts'
import { renewModel } from './model.ts'
import { hubSettings } from './settings.ts'

/** Asked by nobody who watches. */
const quietly = (): FetchOptions => ({
  settings: hubSettings(),
  onProgress: () => {},
  patience: 1000,
})

/** At the newest commit of its revision; where it lies. */
export const downloaded = (
  name: string,
  o: FetchOptions = quietly(),
): TE.TaskEither<Issue, string> => {
  const repo = modelRepo(name)
  if (repo !== null) return renewModel(repo, 'whole', o)
  return name.startsWith('hf://')
    ? pipe(
        TE.fromEither(datasetFile(name)),
        TE.chain((at) => renewDataset(at, o)),
      )
    : TE.left(
        issue(`"${name}" is no name on a hub`, {
          expected: 'OWNER/MODEL, or hf://datasets/OWNER/NAME/FILE.csv',
        }),
      )
}
