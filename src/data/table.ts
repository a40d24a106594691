/** Reads a data file into a table; the format follows from the file's name unless it is given. */
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, one, type Issues } from '../issue.ts'
import { decodeText } from '../text-file.ts'
import type { Table, Uses } from './cell.ts'
import { parseDelimited, type DelimitedOptions } from './csv.ts'
import { byExtension, type Format } from './formats.ts'
import { parseJson } from './json.ts'
import { parseJsonLines } from './jsonl.ts'

export type { Cell, Row, Table } from './cell.ts'

export type { Format } from './formats.ts'

type Parser = (
  bytes: Uint8Array,
  file: string,
  options: DelimitedOptions,
) => E.Either<Issues, Table>

const textParser =
  (parse: (text: string, file: string, uses: Uses) => E.Either<Issues, Table>): Parser =>
  (bytes, file, { uses }) =>
    parse(new TextDecoder().decode(bytes), file, uses)

const parsers: { readonly [F in Format]: Parser } = {
  csv: parseDelimited(','),
  tsv: parseDelimited('\t'),
  json: textParser(parseJson),
  jsonl: textParser(parseJsonLines),
}

const formatOf = (file: string): E.Either<Issues, Format> => {
  const extension = extname(file).toLowerCase()
  const format = byExtension[extension]
  return format
    ? E.right(format)
    : E.left(
        one(
          issue(
            extension === ''
              ? 'the file name has no extension to tell the format by'
              : `files named ${extension} are not understood`,
            { file, expected: Object.keys(byExtension).join(', ') },
          ),
        ),
      )
}

/** The bytes without a byte order mark. Left: they are no UTF-8. */
const utf8 = (bytes: Uint8Array, file: string): E.Either<Issues, Uint8Array> =>
  pipe(
    decodeText(bytes),
    E.bimap(
      (i) => one({ ...i, file }),
      () =>
        bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes,
    ),
  )

const read = (file: string): E.Either<Issues, Uint8Array> =>
  E.tryCatch(
    () => readFileSync(file),
    (error) => {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      const why = error instanceof Error ? error.message : String(error)
      return one(
        missing
          ? issue('the data file does not exist', {
              file,
              path: 'compiler.dataset',
              expected: 'a CSV, JSON or JSONL file',
              hint: "paths of compiler.dataset start at the config's folder, those of --dataset at the working directory",
            })
          : issue(`the data file cannot be read: ${why}`, { file }),
      )
    },
  )

export interface ReadOptions {
  readonly format?: 'auto' | Format
  /** Columns under their `columnName`; all of them unless given. */
  readonly uses?: Uses
  readonly naAsText?: boolean
}

/** A data file as a table. Left: what is wrong with the file where it is used, with lines. */
export const readTable = (
  file: string,
  { format: given = 'auto', uses = 'all', naAsText = false }: ReadOptions = {},
): E.Either<Issues, Table> =>
  pipe(
    given === 'auto' ? formatOf(file) : E.right(given),
    E.bindTo('format'),
    E.bind('bytes', () =>
      pipe(
        read(file),
        E.chain((bytes) => utf8(bytes, file)),
      ),
    ),
    E.chain(({ format, bytes }) => parsers[format](bytes, file, { uses, naAsText })),
  )
