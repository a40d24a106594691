/** The backend a command runs on. */
import * as E from 'fp-ts/lib/Either.js'
import type { Backend } from '../../backends/backend.ts'
import { backendNames, choose, type BackendName } from '../backends.ts'
import type { Config } from '../config/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { textOf, type Options } from './command.ts'

/** `--backend`, else the config's. */
export const backendIn = (o: Options, c: Config): BackendName | 'auto' => {
  const asked = textOf(o, 'backend')
  return backendNames.find((n) => n === asked) ?? (asked === 'auto' ? 'auto' : c.compiler.backend)
}

/** `--backend`, else the config's. Left: it does not work here. */
export const engineFor = async (c: Config, o: Options): Promise<E.Either<Issues, Backend>> => {
  const name = backendIn(o, c)
  const chosen = await choose(name)
  if ('why' in chosen)
    return E.left(
      one(
        issue(`the backend ${name} does not work here: ${chosen.why}`, {
          path: 'compiler.backend',
          hint: 'tunec doctor shows what does; --backend reference works everywhere, thousands of times slower',
        }),
      ),
    )
  return E.right(chosen)
}
