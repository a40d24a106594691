/** `tunec upload`: a run's weights with a card that tells how they came about. */
import * as E from 'fp-ts/lib/Either.js'
import { modelRepo } from '../hub/address.ts'
import { hubSettings } from '../hub/settings.ts'
import { upload } from '../hub/upload.ts'
import { issue } from '../issue.ts'
import { plural } from '../report/units.ts'
import { flagOf, textOf, type Run } from './command.ts'
import { refuse } from './open.ts'

export const run: Run = async (results, o, t) => {
  const [id, base] = [textOf(o, 'repo'), textOf(o, 'baseModel') ?? null]
  if (id === undefined)
    return refuse([issue('--repo is wanted', { expected: 'OWNER/NAME on the hub' })], t)
  for (const name of [id, ...(base === null ? [] : [base])])
    if (modelRepo(name)?.id !== name)
      return refuse([issue(`"${name}" is no name on a hub`, { expected: 'OWNER/NAME' })], t)
  t.status(`uploading ${results} to ${id}`)
  const done = await upload(results, id, {
    settings: hubSettings(),
    private: flagOf(o, 'private'),
    base,
    title: textOf(o, 'commitMessage') ?? 'Weights trained with tunec',
    description: textOf(o, 'commitDescription') ?? null,
  })()
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  const { parts, url, base: named } = done.right
  if (!named.onHub)
    t.note(
      t.noteStyle.yellow(
        '! the base model is a folder here, and nobody else can find it by that name: --base-model OWNER/NAME says which it is on the hub',
      ),
    )
  t.out(`${plural(parts.length, 'file')} lie at ${url}`)
  return 0
}
