/** Finds the base model a config names: a folder on this machine, or the shapes of a known hub model. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, type Issue } from '../issue.ts'
import { knownModels } from './known.ts'
import { readJsonFile } from '../text-file.ts'
import { readSpec, type ModelSpec } from './spec.ts'

export interface Base {
  /** As the config names it. */
  readonly name: string
  /** Null when only the architecture is known: enough to plan, not to train. */
  readonly folder: string | null
  readonly spec: ModelSpec
}

const CONFIG = 'config.json'

const fromFolder = (name: string, folder: string): E.Either<Issue, Base> =>
  pipe(
    readJsonFile(path.join(folder, CONFIG)),
    E.chain(readSpec),
    E.map((spec) => ({ name, folder, spec })),
    E.mapLeft((i) => ({ ...i, file: path.join(folder, CONFIG) })),
  )

/** The folders a name may mean, in order: beside the config, then from the working directory. */
const folders = (name: string, beside: string): ReadonlyArray<string> =>
  path.isAbsolute(name) ? [name] : [path.resolve(beside, name), path.resolve(name)]

/** `name` as written in the config that lies in the folder `beside`. */
export const findBase = (name: string, beside: string): E.Either<Issue, Base> => {
  const tried = folders(name, beside)
  const folder = tried.find((f) => fs.existsSync(path.join(f, CONFIG)))
  if (folder !== undefined) return fromFolder(name, folder)
  const bare = tried.find((f) => fs.existsSync(f))
  const known = knownModels[name]
  if (bare === undefined && known !== undefined)
    return pipe(
      readSpec(known),
      E.map((spec) => ({ name, folder: null, spec })),
    )
  return E.left(
    bare === undefined
      ? issue(`there is no model folder "${name}"`, {
          path: 'base_model',
          expected:
            'a folder with config.json, tokenizer.json and safetensors files, relative to the config or the working directory',
          hint: `looked in ${[...new Set(tried)].join(' and ')}; to plan without weights, a folder with just its config.json is enough`,
        })
      : issue(`the model folder has no config.json`, { file: bare, path: 'base_model' }),
  )
}
