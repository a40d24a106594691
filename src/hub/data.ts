/** A dataset's file from a hub into the cache. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../issue.ts'
import { datasetFile, type DatasetFile } from './address.ts'
import { cached, named } from './dataset-path.ts'
import { fetchRepo, type Choose, type FetchOptions } from './fetch.ts'
import { offlineIssue } from './problems.ts'

const choosing =
  (at: DatasetFile): Choose =>
  (all) =>
    pipe(
      named(
        at,
        all.map((f) => f.path),
      ),
      E.map((name) => all.filter((f) => f.path === name)),
      TE.fromEither,
    )

/** Fetches a dataset's file at the newest commit of its revision; where it lies. */
export const renewDataset = (at: DatasetFile, o: FetchOptions): TE.TaskEither<Issue, string> =>
  o.settings.offline
    ? TE.left(offlineIssue({ repo: at, settings: o.settings, gated: false }))
    : pipe(
        fetchRepo(at, choosing(at), o),
        TE.map((folder) => cached(at, o.settings.cache) ?? folder),
      )

/** Fetches a dataset's file where the cache has it not. */
export const fetchDataset = (name: string, o: FetchOptions): TE.TaskEither<Issue, string> =>
  pipe(
    TE.fromEither(datasetFile(name)),
    TE.chain((at) => {
      const there = cached(at, o.settings.cache)
      return there === null ? renewDataset(at, o) : TE.right(there)
    }),
  )
