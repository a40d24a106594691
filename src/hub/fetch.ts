/** Repositories of a hub into the cache: which files of which commit, and where they then lie. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { shownRepo, type Repo } from './address.ts'
import { blobOf, isCommit, refOf, snapshotOf } from './cache.ts'
import { download, type Fetching, type Wanted } from './download.ts'
import { hubLibrary, type Caller, type Entry } from './library.ts'
import { problemOf, type Asking } from './problems.ts'
import type { HubSettings } from './settings.ts'

export interface Progress {
  readonly file: string
  readonly have: number
  readonly of: number
}

export interface FetchOptions {
  readonly settings: HubSettings
  readonly onProgress: (p: Progress) => void
  /** Milliseconds that a broken connection is given before the first new try. */
  readonly patience: number
}

/** Who asks; a token is put into the call and nowhere else. */
export const callerOf = ({ endpoint, token }: HubSettings): Caller => {
  const accessToken = token()
  return { hubUrl: endpoint, ...(accessToken === null ? {} : { accessToken }) }
}

/** A commit, and what its hub says of the repository. */
interface Found {
  readonly asking: Asking
  readonly commit: string
}

const find = (repo: Repo, settings: HubSettings): TE.TaskEither<Issue, Found> => {
  const asking: Asking = { repo, settings, gated: false }
  return pipe(
    TE.tryCatch(async () => {
      const hub = await hubLibrary()
      const info = repo.kind === 'model' ? hub.modelInfo : hub.datasetInfo
      return info({
        ...callerOf(settings),
        name: repo.id,
        revision: repo.revision,
        additionalFields: ['sha'],
      })
    }, problemOf(asking)),
    TE.chain(({ sha, gated }) =>
      sha !== undefined && isCommit(sha)
        ? TE.right({
            commit: sha,
            asking: { ...asking, gated: gated !== undefined && gated !== false },
          })
        : TE.left(issue(`${settings.endpoint} names no commit of ${shownRepo(repo)}`)),
    ),
  )
}

const list = ({ asking, commit }: Found): TE.TaskEither<Issue, ReadonlyArray<Entry>> =>
  TE.tryCatch(async () => {
    const { repo, settings } = asking
    const hub = await hubLibrary()
    const entries: Array<Entry> = []
    const all = hub.listFiles({
      ...callerOf(settings),
      repo: { type: repo.kind, name: repo.id },
      revision: commit,
      recursive: repo.kind === 'dataset',
    })
    for await (const entry of all) entries.push(entry)
    return entries
  }, problemOf(asking))

/** Names that could leave the cache are not followed. */
const isPlain = (name: string): boolean =>
  !path.isAbsolute(name) && !name.includes('\\') && !name.split('/').includes('..')

const wantedOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<Wanted> =>
  entries.flatMap(({ type, path: name, size, oid, lfs }) => {
    const sum = lfs?.oid ?? oid
    const known = sum !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(sum)
    return type === 'file' && known && isPlain(name)
      ? [{ path: name, bytes: lfs?.size ?? size, sum }]
      : []
  })

/** Links the file of a snapshot to its content, or copies it where there are no links. */
const link = (blob: string, file: string): TE.TaskEither<Issue, void> =>
  attempt('write the file', file, async () => {
    await fs.mkdir(path.dirname(file), { recursive: true })
    await fs.rm(file, { force: true })
    await fs
      .symlink(path.relative(path.dirname(file), blob), file)
      .catch(() => fs.copyFile(blob, file))
  })

/** What of a listing is fetched. Left: what is looked for is not there. */
export type Choose = (
  all: ReadonlyArray<Wanted>,
  /** Fetches a file before the others, where only its content tells them. */
  read: (file: Wanted) => TE.TaskEither<Issue, string>,
) => TE.TaskEither<Issue, ReadonlyArray<Wanted>>

const bring = (f: Fetching, file: Wanted): TE.TaskEither<Issue, string> => {
  const { cache } = f.settings
  const [blob, at] = [
    blobOf(cache, f.repo, file.sum),
    path.join(snapshotOf(cache, f.repo, f.commit), file.path),
  ]
  return pipe(
    download(f, file, blob),
    TE.chain(() => link(blob, at)),
    TE.map(() => at),
  )
}

/** The branch's commit is written last: a cache that names it has what was asked for. */
const writeRef = ({ settings: { cache }, repo, commit }: Fetching): TE.TaskEither<Issue, void> => {
  if (isCommit(repo.revision)) return TE.right(undefined)
  const file = refOf(cache, repo)
  return pipe(
    attempt('make the folder', file, () => fs.mkdir(path.dirname(file), { recursive: true })),
    TE.chain(() => atomicWrite(file, Buffer.from(commit))),
  )
}

/** Fetches what `choose` wants of a revision; the folder where it lies. Left: every way in which a hub says no. */
export const fetchRepo = (
  repo: Repo,
  choose: Choose,
  o: FetchOptions,
): TE.TaskEither<Issue, string> =>
  pipe(
    find(repo, o.settings),
    TE.bindTo('found'),
    TE.bind('entries', ({ found }) => list(found)),
    TE.chain(({ found: { asking, commit }, entries }) => {
      const f: Fetching = {
        ...asking,
        commit,
        onBytes: (file, have) => o.onProgress({ file: file.path, have, of: file.bytes }),
        pause: (n) => new Promise((resolve) => setTimeout(resolve, o.patience * 2 ** (n - 1))),
      }
      const read = (file: Wanted) =>
        pipe(
          bring(f, file),
          TE.chain((at) => attempt('read the file', at, () => fs.readFile(at, 'utf8'))),
        )
      return pipe(
        choose(wantedOf(entries), read),
        TE.chain(
          // One after the other: a connection is shared, and what is whole stays whole.
          TE.traverseSeqArray((file) => bring(f, file)),
        ),
        TE.chain(() => writeRef(f)),
        TE.map(() => snapshotOf(o.settings.cache, repo, commit)),
      )
    }),
  )
