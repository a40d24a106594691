/** `tunec download`: a model or a dataset into the cache, also where an older commit of its branch lies there. */
import * as E from 'fp-ts/lib/Either.js'
import { downloaded } from '../hub/download-by-name.ts'
import type { Run } from './command.ts'
import { fetchOptions } from './hub.ts'
import { refuse } from './open.ts'

export const run: Run = async (name, _, t) => {
  const done = await downloaded(name, fetchOptions(t))()
  t.status(null)
  if (E.isLeft(done)) return refuse([done.left], t)
  t.out(done.right)
  return 0
}
