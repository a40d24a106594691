/** A base model or an adapter from a hub: its small files, which planning and checking need, or its weights as well. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { indexName, parseIndex, weightsName } from '../tensors/shards.ts'
import { shownRepo, type Repo } from './address.ts'
import { cachedSnapshot } from './cache.ts'
import type { Wanted } from './download.ts'
import { fetchRepo, type Choose, type FetchOptions } from './fetch.ts'
import { offlineIssue } from './problems.ts'

/** How much of it. */
export type Extent = 'small' | 'whole'

const SMALL: ReadonlySet<string> = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'tokenizer.model',
  indexName,
])

/** Files of the weights: one, or those that the index names. */
const weightsOf = (
  repo: Repo,
  all: ReadonlyArray<Wanted>,
  read: (file: Wanted) => TE.TaskEither<Issue, string>,
): TE.TaskEither<Issue, ReadonlyArray<Wanted>> => {
  const one = all.find((f) => f.path === weightsName)
  if (one !== undefined) return TE.right([one])
  const index = all.find((f) => f.path === indexName)
  if (index === undefined)
    return TE.left(
      issue(`${shownRepo(repo)} has no safetensors files`, {
        path: 'base_model',
        expected: `${weightsName}, or ${indexName} and the files that it names`,
        hint: all.some((f) => f.path.endsWith('.bin'))
          ? 'its weights are pickled (.bin); another copy of the model may have them as safetensors'
          : 'name a repository that holds a whole model',
      }),
    )
  return pipe(
    read(index),
    TE.chainEitherK((text) => parseIndex(text)),
    TE.map((places) => {
      const names = new Set(places.values())
      return all.filter((f) => names.has(f.path))
    }),
  )
}

const choosing =
  (repo: Repo, extent: Extent): Choose =>
  (all, read) => {
    const small = all.filter((f) => SMALL.has(f.path))
    if (!small.some((f) => f.path === 'config.json'))
      return TE.left(
        issue(`${shownRepo(repo)} has no config.json, so it holds no model`, {
          path: 'base_model',
        }),
      )
    return extent === 'small'
      ? TE.right(small)
      : pipe(
          weightsOf(repo, all, read),
          TE.map((weights) => [...small, ...weights]),
        )
  }

/** Whether a folder has all that is wanted of a model. */
const suffices = (folder: string, extent: Extent): boolean => {
  const has = (name: string): boolean => fs.existsSync(path.join(folder, name))
  if (!has('config.json')) return false
  if (extent === 'small' || has(weightsName)) return true
  if (!has(indexName)) return false
  return pipe(
    parseIndex(fs.readFileSync(path.join(folder, indexName), 'utf8')),
    E.exists((places) => [...new Set(places.values())].every(has)),
  )
}

/** The folder of a model at the newest commit of its revision, fetched as far as the cache has it not. */
export const renewModel = (
  repo: Repo,
  extent: Extent,
  o: FetchOptions,
): TE.TaskEither<Issue, string> =>
  o.settings.offline
    ? TE.left(offlineIssue({ repo, settings: o.settings, gated: false }))
    : fetchRepo(repo, choosing(repo, extent), o)

/** The folder of a model: the cache's where that has it, as it was fetched, else fetched now. */
export const modelFolder = (
  repo: Repo,
  extent: Extent,
  o: FetchOptions,
): TE.TaskEither<Issue, string> => {
  const cached = cachedSnapshot(repo, o.settings.cache)
  return cached !== null && suffices(cached, extent)
    ? TE.right(cached)
    : renewModel(repo, extent, o)
}

const ADAPTER = ['adapter_config.json', 'adapter_model.safetensors'] as const

/** The files of an adapter that an extent asks for. */
const adapterFiles = (extent: Extent): ReadonlyArray<string> =>
  extent === 'small' ? ADAPTER.slice(0, 1) : ADAPTER

const choosingAdapter =
  (repo: Repo, extent: Extent): Choose =>
  (all) => {
    const wanted = adapterFiles(extent)
    const lacking = wanted.find((name) => !all.some((f) => f.path === name))
    return lacking === undefined
      ? TE.right(all.filter((f) => wanted.includes(f.path)))
      : TE.left(
          issue(`${shownRepo(repo)} has no ${lacking}, so it holds no adapter that can be read`, {
            path: 'adapter.pretrained_adapter_weights',
            expected: ADAPTER.join(' and '),
          }),
        )
  }

/** The folder of an adapter: the cache's where that has it, else fetched now. */
export const adapterFolder = (
  repo: Repo,
  extent: Extent,
  o: FetchOptions,
): TE.TaskEither<Issue, string> => {
  const cached = cachedSnapshot(repo, o.settings.cache)
  const whole =
    cached !== null && adapterFiles(extent).every((n) => fs.existsSync(path.join(cached, n)))
  if (whole) return TE.right(cached)
  return pipe(
    o.settings.offline
      ? TE.left(offlineIssue({ repo, settings: o.settings, gated: false }))
      : fetchRepo(repo, choosingAdapter(repo, extent), o),
    TE.mapLeft((i): Issue => ({ ...i, path: 'adapter.pretrained_adapter_weights' })),
  )
}
