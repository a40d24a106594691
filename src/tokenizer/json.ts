/** Looking into JSON that others wrote, without trusting its shape. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, type Issue } from '../issue.ts'

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const objects = (value: unknown): ReadonlyArray<JsonObject> =>
  Array.isArray(value) ? value.filter(isObject) : []

const parse = (text: string, file: string): E.Either<Issue, JsonObject> =>
  pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => issue('the file is not valid JSON', { file }),
    ),
    E.filterOrElse(isObject, () =>
      issue('the file does not hold a JSON object', { file, expected: 'a JSON object' }),
    ),
  )

/** The object in `folder/name`; undefined when there is no such file. */
export const readJson = (folder: string, name: string): E.Either<Issue, JsonObject | undefined> => {
  const file = join(folder, name)
  return pipe(
    E.tryCatch(
      () => readFileSync(file, 'utf8'),
      (error) => error,
    ),
    E.matchW(
      (error) => {
        const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
        const why = error instanceof Error ? error.message : String(error)
        return missing
          ? E.right(undefined)
          : E.left(issue(`the file cannot be read: ${why}`, { file }))
      },
      (text) => parse(text, file),
    ),
  )
}
