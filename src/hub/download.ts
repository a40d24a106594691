/**
 * One file of a hub into the cache: resumed where an earlier try ended, and believed only when its sum is the listed one.
 * Two processes that fetch the same write the same bytes at the same places, so neither can spoil the other's.
 */
import { createHash, type Hash } from 'node:crypto'
import fs, { type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { size } from '../report/units.ts'
import { shownRepo } from './address.ts'
import { networkIssue, statusIssue, type Asking } from './problems.ts'

/** A file as the listing names it. */
export interface Wanted {
  readonly path: string
  readonly bytes: number
  /** SHA-256 of the content, or the SHA-1 that git names it by; also the name of its blob. */
  readonly sum: string
}

export interface Fetching extends Asking {
  /** The commit that is fetched. */
  readonly commit: string
  readonly onBytes: (file: Wanted, have: number) => void
  /** Milliseconds before another try; the n-th from 1. */
  readonly pause: (n: number) => Promise<void>
}

/** Broken connections in a row that are put up with. */
const TRIES = 5

const urlOf = ({ settings, repo, commit }: Fetching, file: Wanted): string =>
  `${settings.endpoint}/${repo.kind === 'dataset' ? 'datasets/' : ''}${repo.id}/resolve/${commit}/${file.path
    .split('/')
    .map(encodeURIComponent)
    .join('/')}`

const hashOf = (file: Wanted): Hash =>
  file.sum.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${file.bytes}\0`)

/** `fetch` leaves the token out when it follows a link to another host, where large files lie. */
const ask = (f: Fetching, file: Wanted, from: number): TE.TaskEither<Issue, Response> =>
  TE.tryCatch(
    () => {
      const token = f.settings.token()
      return fetch(urlOf(f, file), {
        headers: {
          'accept-encoding': 'identity',
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(from === 0 ? {} : { range: `bytes=${from}-` }),
        },
      })
    },
    (e) => networkIssue(f, e),
  )

/** Writes what comes from `at` on. Right: how many bytes are there; a connection that breaks is no failure here. */
const receive = async (
  f: Fetching,
  file: Wanted,
  out: FileHandle,
  response: Response,
  at: number,
): Promise<number> => {
  let have = at
  try {
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      if (have + part.length > file.bytes) return have
      await out.write(part, 0, part.length, have)
      have += part.length
      f.onBytes(file, have)
    }
  } catch (e) {
    // What the disk refuses is a failure; what the network does, the next try mends.
    if (e instanceof Error && 'syscall' in e && e.syscall === 'write') throw e
  }
  return have
}

const sumOf = async (file: Wanted, partial: string): Promise<string> => {
  const hash = hashOf(file)
  const handle = await fs.open(partial, 'r')
  try {
    for await (const part of handle.createReadStream({ autoClose: false }))
      hash.update(part as Buffer)
  } finally {
    await handle.close()
  }
  return hash.digest('hex')
}

/** Begins where the partial file ends. Left: no try brought anything. */
const filled =
  (f: Fetching, file: Wanted, partial: string): TE.TaskEither<Issue, void> =>
  async () => {
    let have = (await ifExists(() => fs.stat(partial)))?.size ?? 0
    if (have > file.bytes) have = 0
    let last: Issue | null = null
    for (let n = 0; have < file.bytes;) {
      if (n > 0) await f.pause(n)
      if (n === TRIES) break
      const got = await ask(f, file, have)()
      if (E.isLeft(got)) {
        last = got.left
        n++
        continue
      }
      const { status } = got.right
      const again = status === 416 || status === 429 || status >= 500
      if (!got.right.ok) {
        await got.right.body?.cancel()
        last = statusIssue(f, status)
        if (!again) return E.left(last)
        if (status === 416) have = 0
        n++
        continue
      }
      const out = await fs.open(partial, (await ifExists(() => fs.stat(partial))) ? 'r+' : 'w')
      try {
        // A host that knows no ranges sends the whole.
        const at = status === 206 ? have : 0
        const now = await receive(f, file, out, got.right, at)
        n = now > have ? 1 : n + 1
        have = now
        last = null
      } finally {
        await out.close()
      }
    }
    if (have >= file.bytes) return E.right(undefined)
    return E.left(
      last ??
        issue(
          `${file.path} of ${shownRepo(f.repo)} breaks off after ${size(have)} of ${size(file.bytes)}`,
          {
            file: partial,
            hint: 'the same command goes on from there',
          },
        ),
    )
  }

const otherSum = (f: Fetching, file: Wanted): Issue =>
  issue(
    `${file.path} of ${shownRepo(f.repo)} is not what its hub lists: its checksum is another one`,
    {
      expected: `${file.sum.length === 64 ? 'SHA-256' : 'git SHA-1'} ${file.sum}`,
      hint: 'try again; where a mirror is asked (HF_ENDPOINT), ask another one',
    },
  )

/** Puts the file at `blob`. A partial file that turns out wrong is thrown away, and the file fetched once more. */
export const download = (f: Fetching, file: Wanted, blob: string): TE.TaskEither<Issue, void> => {
  const partial = `${blob}.incomplete`
  const tryOnce = pipe(
    filled(f, file, partial),
    TE.chain(() =>
      attempt('write the file', partial, async () => {
        // A file of no bytes is never asked for.
        if (file.bytes === 0) await fs.writeFile(partial, '')
        await fs.truncate(partial, file.bytes)
        if ((await sumOf(file, partial)) !== file.sum) {
          await fs.rm(partial, { force: true })
          return false
        }
        await fs.rename(partial, blob)
        return true
      }),
    ),
  )
  return pipe(
    attempt('make the folder', blob, () => fs.mkdir(path.dirname(blob), { recursive: true })),
    TE.chain(() => attempt('read the file', blob, () => ifExists(() => fs.stat(blob)))),
    TE.chain((there) =>
      there !== undefined
        ? TE.right(true)
        : pipe(
            tryOnce,
            TE.chain((good) => (good ? TE.right(true) : tryOnce)),
          ),
    ),
    TE.chain((good) => (good ? TE.right(undefined) : TE.left(otherSum(f, file)))),
  )
}
