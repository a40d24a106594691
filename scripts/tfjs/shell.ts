/** Other programs, as setup:tfjs runs them: their output shown only where they fail. */
import { spawnSync } from 'node:child_process'
import * as E from 'fp-ts/lib/Either.js'

export type Step<T> = E.Either<string, T>

export const works = (command: ReadonlyArray<string>): boolean =>
  spawnSync(command[0]!, [...command.slice(1), '--version'], { stdio: 'ignore' }).status === 0

export const run = (
  what: string,
  command: ReadonlyArray<string>,
  o: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Step<string> => {
  const r = spawnSync(command[0]!, command.slice(1), {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    ...o,
  })
  if (r.status === 0) return E.right(r.stdout)
  const said = `${r.stdout ?? ''}${r.stderr ?? ''}`.trim().split('\n').slice(-12)
  const why = r.error === undefined ? `exit ${r.status ?? r.signal}` : r.error.message
  return E.left([`${what}: ${command[0]} failed (${why})`, ...said].join('\n  '))
}
