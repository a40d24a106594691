/** Whether files are still the ones a plan was made from. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { issue, type Issue } from '../issue.ts'

export const fingerprintCodec = t.readonly(
  t.strict({
    name: t.string,
    bytes: t.number,
    /** SHA-256; null for weights, which are too large to read for it. */
    sha256: t.union([t.string, t.null]),
  }),
)
export type Fingerprint = t.TypeOf<typeof fingerprintCodec>

const WEIGHTS = /\.safetensors$/
const SMALL: ReadonlyArray<string> = [
  'config.json',
  'generation_config.json',
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
]

const print = (folder: string, name: string): Fingerprint => {
  const file = path.join(folder, name)
  const bytes = fs.statSync(file).size
  const hash = () => createHash('sha256').update(fs.readFileSync(file)).digest('hex')
  return { name, bytes, sha256: WEIGHTS.test(name) ? null : hash() }
}

const readable = <T>(file: string, read: () => T): E.Either<Issue, T> =>
  E.tryCatch(read, (e) =>
    issue(`it cannot be read: ${e instanceof Error ? e.message : String(e)}`, { file }),
  )

/** Of one file. */
export const fileFingerprint = (file: string): E.Either<Issue, Fingerprint> =>
  readable(file, () => print(path.dirname(file), path.basename(file)))

/** Of everything in a model folder that a run reads. */
export const folderFingerprints = (folder: string): E.Either<Issue, ReadonlyArray<Fingerprint>> =>
  readable(folder, () =>
    fs
      .readdirSync(folder)
      .filter((name) => WEIGHTS.test(name) || SMALL.includes(name))
      .toSorted()
      .map((name) => print(folder, name)),
  )

/** Those of small files: weights are told apart by their tensors, however they are cut into files. */
export const smallOnes = (all: ReadonlyArray<Fingerprint>): ReadonlyArray<Fingerprint> =>
  all.filter((f) => f.sha256 !== null)

/** The first file that is gone, new or different, in words; null when all are as they were. */
export const changed = (
  was: ReadonlyArray<Fingerprint>,
  is: ReadonlyArray<Fingerprint>,
): string | null => {
  const now = new Map(is.map((f) => [f.name, f]))
  for (const f of was) {
    const g = now.get(f.name)
    if (g === undefined) return `${f.name} is gone`
    if (g.bytes !== f.bytes || g.sha256 !== f.sha256) return `${f.name} has changed`
  }
  const added = is.find((g) => !was.some((f) => f.name === g.name))
  return added === undefined ? null : `${added.name} is new`
}
