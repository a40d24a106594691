/** Looking into JSON that others wrote, without trusting its shape. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, type Issue } from '../issue.ts'
import { readJsonFile } from '../text-file.ts'

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const objects = (value: unknown): ReadonlyArray<JsonObject> =>
  Array.isArray(value) ? value.filter(isObject) : []

/** The object in `folder/name`; undefined when there is no such file. */
export const readJson = (folder: string, name: string): E.Either<Issue, JsonObject | undefined> => {
  const file = join(folder, name)
  return pipe(
    readJsonFile(file),
    E.chain((json) =>
      json === undefined || isObject(json)
        ? E.right(json)
        : E.left(
            issue('the file does not hold a JSON object', { file, expected: 'a JSON object' }),
          ),
    ),
  )
}
