/** Text files that others wrote, read strictly: bytes that are no UTF-8 would come out as other text, and deep nesting as a stack that overflows. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, type Issue } from './issue.ts'
import { parseJson } from './tensors/json.ts'

const text = (bytes: Uint8Array): E.Either<null, string> =>
  E.tryCatch(
    () => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    () => null,
  )

/** 1-based line of the first byte that is no UTF-8; no character has a line feed among its bytes. */
const badLine = (bytes: Uint8Array): number => {
  for (let [line, at] = [1, 0]; ; line++) {
    const end = bytes.indexOf(0x0a, at)
    if (end < 0 || E.isLeft(text(bytes.subarray(at, end)))) return line
    at = end + 1
  }
}

const startsWith = (bytes: Uint8Array, a: number, b: number): boolean =>
  bytes[0] === a && bytes[1] === b

const notText = (bytes: Uint8Array): Issue => {
  const wide = startsWith(bytes, 0xff, 0xfe) || startsWith(bytes, 0xfe, 0xff)
  return issue(wide ? 'the file is UTF-16' : 'the file is not UTF-8', {
    ...(wide ? {} : { line: badLine(bytes) }),
    expected: 'UTF-8 text',
    hint: 'save it as UTF-8',
  })
}

/** Left: bytes that are no UTF-8. */
export const decodeText = (bytes: Uint8Array): E.Either<Issue, string> =>
  pipe(
    text(bytes),
    E.mapLeft(() => notText(bytes)),
  )

/** The text of a file; undefined where there is no such file. */
export const readText = (file: string): E.Either<Issue, string | undefined> =>
  pipe(
    E.tryCatch(
      () => fs.readFileSync(file),
      (error) => error,
    ),
    E.matchW(
      (error) => {
        const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
        const why = error instanceof Error ? error.message : String(error)
        return missing ? E.right(undefined) : E.left(issue(`the file cannot be read: ${why}`))
      },
      (bytes) => decodeText(bytes),
    ),
    E.mapLeft((i) => ({ ...i, file })),
  )

/** No file of a model or of a run nests deeper than a few levels. */
const MOST = 64

/** The value of JSON text. Left: it is none, has a key twice, or is nested so deep that walking through it would overflow the stack. */
export const parseJsonText = (json: string): E.Either<Issue, unknown> =>
  parseJson(json, { maxDepth: MOST, onlyCounts: false })

/** The value of a JSON file; undefined where there is no such file. */
export const readJsonFile = (file: string): E.Either<Issue, unknown> =>
  pipe(
    readText(file),
    E.chain((json) => (json === undefined ? E.right(undefined) : parseJsonText(json))),
    E.mapLeft((i) => ({ ...i, file })),
  )
