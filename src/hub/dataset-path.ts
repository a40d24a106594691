/** Which file a dataset's address means, and where it lies once it was fetched: without asking anybody. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { readable } from '../data/formats.ts'
import { issue, type Issue } from '../issue.ts'
import { datasetFile, isAddress, shownRepo, type DatasetFile } from './address.ts'
import { cachedSnapshot } from './cache.ts'
import { hubSettings } from './settings.ts'

const WHERE = { path: 'compiler.dataset' } as const

const MOST = 8

const few = (names: ReadonlyArray<string>): string =>
  names.length <= MOST
    ? names.join(', ')
    : `${names.slice(0, MOST).join(', ')} and ${names.length - MOST} more`

/** The name that an address means among those there are. */
export const named = (at: DatasetFile, all: ReadonlyArray<string>): E.Either<Issue, string> => {
  const { path: file } = at
  if (file !== null)
    return all.includes(file)
      ? E.right(file)
      : E.left(
          issue(`${shownRepo(at)} has no file ${file}`, {
            ...WHERE,
            expected: `one of ${few(all)}`,
          }),
        )
  const data = all.filter(readable)
  return E.left(
    data.length === 0
      ? issue(`${shownRepo(at)} has no CSV, JSON or JSONL file`, {
          ...WHERE,
          expected: 'a dataset with a file of such a kind',
          hint: all.length === 0 ? 'it has no files' : `it has ${few(all)}`,
        })
      : issue(`${shownRepo(at)} is a dataset, and a file of it is wanted`, {
          ...WHERE,
          expected: `the address with one of its files behind it: ${few(data)}`,
        }),
  )
}

/** The fetched file; null: it was not fetched yet, or the address names none. */
export const cached = (at: DatasetFile, cache: string): string | null => {
  const folder = at.path === null ? null : cachedSnapshot(at, cache)
  if (folder === null) return null
  const file = path.join(folder, at.path!)
  return fs.existsSync(file) ? file : null
}

/** Where a dataset lies that a config in `folder` names: a path, or an address whose file was fetched before. */
export const datasetPath = (name: string, folder: string): E.Either<Issue, string> =>
  !isAddress(name)
    ? E.right(path.resolve(folder, name))
    : pipe(
        datasetFile(name),
        E.chain((at) =>
          pipe(
            cached(at, hubSettings().cache),
            E.fromNullable(
              issue(`${name} is not in the cache of the Hugging Face hub`, {
                ...WHERE,
                hint: `\`tunec download ${name}\` fetches it`,
              }),
            ),
          ),
        ),
      )

/** `--dataset` as a config would say it: a path starts where the command runs. */
export const datasetArgument = (text: string): string =>
  isAddress(text) ? text : path.resolve(text)
