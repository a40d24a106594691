/** `tunec download`: a model or a dataset into the cache, also where an older commit of its branch lies there. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { datasetFile, modelRepo } from '../hub/address.ts'
import { renewDataset } from '../hub/data.ts'
import { renewModel } from '../hub/model.ts'
import { issue, type Issue } from '../issue.ts'
import type { Run } from './command.ts'
import { fetchOptions } from './hub.ts'
import { refuse } from './open.ts'

const unnamed = (name: string): Issue =>
  issue(`"${name}" is no name on a hub`, {
    expected: 'OWNER/MODEL, or hf://datasets/OWNER/NAME/FILE.csv',
  })

export const run: Run = async (name, _, t) => {
  const o = fetchOptions(t)
  const repo = modelRepo(name)
  const done = await pipe(
    name.startsWith('hf://datasets/')
      ? pipe(
          TE.fromEither(datasetFile(name)),
          TE.chain((at) => renewDataset(at, o)),
        )
      : repo === null
        ? TE.left(unnamed(name))
        : renewModel(repo, 'whole', o),
  )()
  t.status(null)
  if (E.isLeft(done)) return refuse([done.left], t)
  t.out(done.right)
  return 0
}
