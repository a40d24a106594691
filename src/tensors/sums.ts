/**
 * Checksums of the files in a folder, kept beside them in the format of coreutils: `sha256sum -c SHA256SUMS` checks
 * them too. Every line is read strictly, so that a change to the list itself is found as well.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import { atomicWrite } from './atomic.ts'
import { attempt, ifExists, readInto } from './os.ts'

export const sumsName = 'SHA256SUMS'

/** SHA-256 in lower-case hexadecimal. */
export type Sum = string
/** By the file's name. */
export type Sums = ReadonlyMap<string, Sum>

export const sumOf = (bytes: Uint8Array | string): Sum =>
  createHash('sha256').update(bytes).digest('hex')

const chunkBytes = 1 << 22

/** The checksum of a file as the disk has it. */
export const sumOfFile = (path: string): TE.TaskEither<Issue, Sum> =>
  TE.bracket(
    attempt('read the file', path, () => fs.open(path, 'r')),
    (file) =>
      attempt('read the file', path, async () => {
        const hash = createHash('sha256')
        const chunk = new Uint8Array(chunkBytes)
        for (let at = 0; ; at += chunkBytes) {
          const filled = await readInto(file, chunk, at)
          hash.update(chunk.subarray(0, filled))
          if (filled < chunkBytes) return hash.digest('hex')
        }
      }),
    (file) => attempt('close the file', path, () => file.close()),
  )

const textOf = (sums: Sums): string =>
  [...sums]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, sum]) => `${sum}  ${name}\n`)
    .join('')

export const writeSums = (folder: string, sums: Sums): TE.TaskEither<Issue, void> =>
  atomicWrite(join(folder, sumsName), Buffer.from(textOf(sums)))

/** A card for people: whoever edits it changes nothing that is computed. */
const isCard = (name: string): boolean => name === 'README.md'

/** Writes the checksums of all that lies in a folder; `known` ones are not computed again from the disk. */
export const writeSumsOf = (folder: string, known: Sums): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('read the folder', folder, () => fs.readdir(folder)),
    TE.chain((names) =>
      pipe(
        names.filter((name) => !isCard(name)),
        TE.traverseSeqArray((name) => {
          const sum = known.get(name)
          return pipe(
            sum === undefined ? sumOfFile(join(folder, name)) : TE.right(sum),
            TE.map((s) => [name, s] as const),
          )
        }),
      ),
    ),
    TE.chain((sums) => writeSums(folder, new Map(sums))),
  )

const restore =
  'restore it from a copy; who changed it on purpose writes SHA256SUMS anew with sha256sum'

const parse = (text: string): E.Either<Issue, Sums> =>
  pipe(
    text.split('\n'),
    (lines) =>
      lines.at(-1) === ''
        ? E.right(lines.slice(0, -1))
        : E.left(issue('the list of checksums ends in the middle of a line')),
    E.chain(
      E.traverseArrayWithIndex((i, line) => {
        const found = /^([0-9a-f]{64}) {2}([^/\\]+)$/.exec(line)
        return found === null
          ? E.left(
              issue('this is no checksum', { line: i + 1, expected: 'SHA-256 and a file name' }),
            )
          : E.right([found[2]!, found[1]!] as const)
      }),
    ),
    E.map((pairs) => new Map(pairs)),
    E.mapLeft((i): Issue => ({ hint: restore, ...i })),
  )

/** The checksums of a folder's files as they were written. Left: there are none, or the list is damaged. */
export const readSums = (folder: string): TE.TaskEither<Issue, Sums> => {
  const file = join(folder, sumsName)
  return pipe(
    attempt('read the checksums', file, () => ifExists(() => fs.readFile(file, 'utf8'))),
    TE.chainEitherK((text) =>
      text === undefined
        ? E.left(issue(`the folder has no ${sumsName}, so nothing tells whether it is complete`))
        : parse(text),
    ),
    TE.mapLeft((i): Issue => ({ file, ...i })),
  )
}

const verifyFile = (folder: string, name: string, sum: Sum): TE.TaskEither<Issue, void> => {
  const file = join(folder, name)
  return pipe(
    sumOfFile(file),
    TE.filterOrElse(
      (found) => found === sum,
      () =>
        issue(`${name} is not what was written: its checksum is another than in ${sumsName}`, {
          file,
          hint: restore,
        }),
    ),
    TE.map(() => undefined),
  )
}

/** Files that say what is computed; an unlisted one would be used unseen. */
const counts = /\.safetensors$|^(adapter_)?config\.json$/

const unlisted = (folder: string, sums: Sums): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('read the folder', folder, () => fs.readdir(folder)),
    TE.chain((names) => {
      const name = names.find((n) => counts.test(n) && !sums.has(n))
      return name === undefined
        ? TE.right(undefined)
        : TE.left(
            issue(`${name} has no checksum in ${sumsName}`, {
              file: join(folder, name),
              hint: restore,
            }),
          )
    }),
  )

/** Left: a file of the folder that is missing, unlisted, or holds something else than what was written. */
export const verifySums = (
  folder: string,
  wanted: (name: string) => boolean = () => true,
): TE.TaskEither<Issue, Sums> =>
  pipe(
    readSums(folder),
    TE.chainFirst((sums) => unlisted(folder, sums)),
    TE.chainFirst((sums) =>
      pipe(
        [...sums].filter(([name]) => wanted(name)),
        TE.traverseSeqArray(([name, sum]) => verifyFile(folder, name, sum)),
      ),
    ),
  )
