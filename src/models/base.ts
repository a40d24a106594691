/** Finds the base model a config names: a folder on this machine, or the shapes of a known hub model. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { modelRepo } from '../hub/address.ts'
import { cachedSnapshot } from '../hub/cache.ts'
import { issue, type Issue } from '../issue.ts'
import { dtypeRemarks } from './dtype.ts'
import { hasOwnHead } from './head.ts'
import { knownModels } from './known.ts'
import type { Labels } from './labels.ts'
import { packedIn, packingOf, type Packed } from './packed.ts'
import { configRemarks } from './remarks.ts'
import { readJsonFile } from '../text-file.ts'
import { isJson } from './rope.ts'
import { readSpec, type ModelSpec } from './spec.ts'
import { tokenizerRemarks } from '../tokenizer/remarks.ts'

export interface Base {
  /** As the config names it. */
  readonly name: string
  /** Null when only the architecture is known: enough to plan, not to train. */
  readonly folder: string | null
  readonly spec: ModelSpec
  /** Null where its weights are not quantized yet. */
  readonly packed: Packed | null
  /** Heads over it, where it is an encoder. */
  readonly labels?: Labels
  /** Where its files say something twice or in vain, and what is done about it. */
  readonly remarks: ReadonlyArray<string>
}

const CONFIG = 'config.json'

const OWN_HEAD =
  'config.json says tie_word_embeddings, but the files hold an lm_head.weight other than the embedding: both are used, as in transformers 5 (version 4 drops the head)'

const fromFolder = (name: string, folder: string): E.Either<Issue, Base> =>
  pipe(
    readJsonFile(path.join(folder, CONFIG)),
    E.bindTo('config'),
    E.bind('spec', ({ config }) => readSpec(config)),
    E.bind('packing', ({ config }) => (isJson(config) ? packingOf(config) : E.right(null))),
    E.map(({ config, spec, packing }) => {
      const own = spec.tied && hasOwnHead(folder)
      return {
        name,
        folder,
        spec: own ? { ...spec, tied: false } : spec,
        packed: packing === null ? null : packedIn(folder, packing),
        remarks: [
          ...configRemarks(config),
          ...(own ? [OWN_HEAD] : []),
          ...(isJson(config) ? dtypeRemarks(config, folder) : []),
          ...tokenizerRemarks(folder),
        ],
      }
    }),
    E.mapLeft((i) => ({ ...i, file: path.join(folder, CONFIG) })),
  )

/** The folders a name may mean, in order: beside the config, then from the working directory. */
const folders = (name: string, beside: string): ReadonlyArray<string> =>
  path.isAbsolute(name) ? [name] : [path.resolve(beside, name), path.resolve(name)]

/** What to do about a name that is a hub id by its form: `owner/model`. */
export const fetching = (name: string): string =>
  modelRepo(name) === null
    ? ''
    : `if this is a model of the Hugging Face hub, \`tunec download ${name}\` fetches it; `

/** Where a hub's model lies that was fetched before. */
const fetched = (name: string): string | null => {
  const repo = modelRepo(name)
  return repo === null ? null : cachedSnapshot(repo)
}

/** Whether a name means a folder here, so that no hub is asked. */
export const isFolderHere = (name: string, beside: string): boolean =>
  folders(name, beside).some((f) => fs.existsSync(f))

/** Whether its shapes are known without any file. */
export const isKnown = (name: string): boolean => knownModels[name] !== undefined

/** `name` as written in the config that lies in the folder `beside`. */
export const findBase = (name: string, beside: string): E.Either<Issue, Base> => {
  const tried = folders(name, beside)
  const folder = tried.find((f) => fs.existsSync(path.join(f, CONFIG)))
  if (folder !== undefined) return fromFolder(name, folder)
  const bare = tried.find((f) => fs.existsSync(f))
  const cached = bare === undefined ? fetched(name) : null
  if (cached !== null) return fromFolder(name, cached)
  const known = knownModels[name]
  if (bare === undefined && known !== undefined)
    return pipe(
      readSpec(known),
      E.map((spec) => ({ name, folder: null, spec, packed: null, remarks: [] })),
    )
  return E.left(
    bare === undefined
      ? issue(`there is no model folder "${name}"`, {
          path: 'base_model',
          expected:
            'a folder with config.json, tokenizer.json and safetensors files, relative to the config or the working directory',
          hint: `${fetching(name)}looked in ${[...new Set(tried)].join(' and ')}; to plan without weights, a folder with just its config.json is enough`,
        })
      : issue(`the model folder has no config.json`, { file: bare, path: 'base_model' }),
  )
}
