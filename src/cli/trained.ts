/** A model to ask: the results of a run, or a config's base as it is. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import { parseConfig, type Config } from '../config/index.ts'
import { adapterPath } from '../hub/adapter-path.ts'
import { modelRepo } from '../hub/address.ts'
import { datasetArgument } from '../hub/dataset-path.ts'
import type { Target } from '../data/targets.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import {
  changed,
  fingerprintCodec,
  folderFingerprints,
  smallOnes,
  type Fingerprint,
} from '../plan/fingerprint.ts'
import { readJsonFile } from '../text-file.ts'
import { currentFolder } from '../tensors/atomic.ts'
import { verifySums, type Sum } from '../tensors/sums.ts'
import { readMeaning } from '../train/heads.ts'
import { descriptionName, weightsFolder } from '../train/results.ts'
import type { Examples } from '../retrieval/pool.ts'
import { textOf, type Options } from './command.ts'
import { obtained } from './hub.ts'
import { openConfig, showNotices } from './open.ts'
import type { Terminal } from './terminal.ts'

export interface Trained {
  readonly config: Config
  readonly folder: string
  /** Of a run, or one that a config goes on from. Null: the base as it is. */
  readonly adapter: string | null
  /** The base that was tuned; null: it never was. */
  readonly untuned: string | null
  /** Where the rows are that prompts show, if others than the data's own are asked. */
  readonly examples?: Examples | null
  /** Of a run that predicts labels: where its heads lie, and what they predict. */
  readonly heads: {
    readonly results: string
    readonly targets: ReadonlyArray<Target>
  } | null
  /** Whether training began with the base and an adapter that added nothing. */
  readonly began: boolean
  /** Of the base that an adapter was trained on: its small files, and the SHA-256 of its tensors. */
  readonly trainedOn: {
    readonly files: ReadonlyArray<Fingerprint>
    readonly sha256: Sum
  } | null
}

const descriptionCodec = t.type({
  config: t.UnknownRecord,
  dataset: t.union([t.string, t.null]),
  base_model_folder: t.union([t.string, t.null]),
  base_model_files: t.readonlyArray(fingerprintCodec),
  base_model_sha256: t.string,
})

const broken = (file: string, why: string): Issues =>
  one(
    issue(`these results cannot be used: ${why}`, {
      file,
      expected: 'a results folder, such as results/experiment_run',
    }),
  )

const readDescription = (file: string): E.Either<Issues, t.TypeOf<typeof descriptionCodec>> =>
  pipe(
    readJsonFile(file),
    E.mapLeft((i) => broken(file, i.message)),
    E.filterOrElse(
      (json) => json !== undefined,
      () => broken(file, 'there is no such file'),
    ),
    E.chain((json) =>
      pipe(
        descriptionCodec.decode(json),
        E.mapLeft(() => broken(file, 'the description is of another kind')),
      ),
    ),
  )

export const otherBase = (what: string, file: string): Issues =>
  one(
    issue(`the base model is not the one that this was trained on: ${what}`, {
      file,
      hint: 'put the base model back as it was; another one would answer with other weights',
    }),
  )

/** The small files of the base are as they were; its tensors are looked at when they are read. */
const sameFiles = ({ config, trainedOn }: Trained): E.Either<Issues, void> => {
  // A base that is gone is said when it is looked for.
  if (trainedOn === null || !fs.existsSync(config.base_model)) return E.right(undefined)
  return pipe(
    folderFingerprints(config.base_model),
    E.mapLeft(one),
    E.chain((now) => {
      const why = changed(trainedOn.files, smallOnes(now))
      return why === null ? E.right(undefined) : E.left(otherBase(why, config.base_model))
    }),
  )
}

/** Where the run's weights lie, whole and as they were written. */
const weightsIn = (results: string): TE.TaskEither<Issues, string> =>
  pipe(
    currentFolder(weightsFolder(path.resolve(results))),
    TE.mapLeft(() => broken(results, 'the run has not finished, so there are no weights')),
    TE.chainFirst((weights) => pipe(verifySums(weights), TE.mapLeft(one))),
  )

/** The base where it was, or by its name where it came from a hub and the cache was cleared since. */
const baseOf = (folder: string | null, { base_model: name }: Config): string =>
  folder === null || (!fs.existsSync(folder) && modelRepo(name) !== null) ? name : folder

/** An encoder that was not trained: its heads are all there is. */
const isFrozen = ({ model_type, input_features: [{ encoder }] }: Config): boolean =>
  model_type === 'ecd' && encoder?.trainable === false

const headsIn = (results: string, config: Config): TE.TaskEither<Issues, Trained['heads']> =>
  config.model_type === 'llm'
    ? TE.right(null)
    : pipe(
        readMeaning(results, config),
        TE.bimap(one, (targets) => ({ results, targets })),
      )

/** Who asks a model reads each row once. */
const uncached = (c: Config): Config => {
  const [input] = c.input_features
  const preprocessing = { ...input.preprocessing, cache_encoder_embeddings: false }
  return { ...c, input_features: [{ ...input, preprocessing }] }
}

/** Why a model gives no text; null: it does. */
export const writesNothing = ({ config }: Trained): Issue | null =>
  config.model_type === 'llm'
    ? null
    : issue('this model predicts labels and writes no text', {
        hint: 'ask it with `tunec predict RESULTS --dataset FILE`, or over HTTP with `tunec serve RESULTS`',
      })

/** A run's results: its own config, with the base and the data where they were, and its adapter. */
const fromResults = (results: string): TE.TaskEither<Issues, Trained> => {
  const file = path.join(results, descriptionName)
  return pipe(
    TE.Do,
    TE.bind('is', () => TE.fromEither(readDescription(file))),
    TE.chainFirst(() => pipe(verifySums(results), TE.mapLeft(one))),
    // JSON is YAML.
    TE.bind('parsed', ({ is }) => TE.fromEither(parseConfig(JSON.stringify(is.config), { file }))),
    TE.bind('heads', ({ parsed: { config } }) => headsIn(results, config)),
    TE.bind('weights', ({ is, parsed: { config } }) =>
      isFrozen(config) ? TE.right(baseOf(is.base_model_folder, config)) : weightsIn(results),
    ),
    TE.map(({ is, weights, heads, parsed: { config } }) => {
      const lora = config.adapter !== null
      const same = lora || isFrozen(config)
      return {
        heads,
        folder: path.resolve(results),
        adapter: lora ? weights : null,
        untuned: baseOf(is.base_model_folder, config),
        began: config.adapter !== null && config.adapter.pretrained_adapter_weights === null,
        trainedOn: same ? { files: is.base_model_files, sha256: is.base_model_sha256 } : null,
        config: {
          ...uncached(config),
          // The adapter says itself what it is.
          adapter:
            config.adapter === null
              ? null
              : { ...config.adapter, pretrained_adapter_weights: weights },
          base_model: lora ? baseOf(is.base_model_folder, config) : weights,
          // A full model's own config.json carries the positions already.
          model_parameters: same
            ? config.model_parameters
            : { ...config.model_parameters, rope_scaling: null },
          compiler: { ...config.compiler, dataset: is.dataset },
        },
      }
    }),
    TE.chainFirstEitherK(sameFiles),
  )
}

/** With the data that `--dataset` names instead. */
const asked = (c: Config, o: Options): Config => {
  const dataset = textOf(o, 'dataset')
  return dataset === undefined
    ? c
    : { ...c, compiler: { ...c.compiler, dataset: datasetArgument(dataset) } }
}

/** A folder is results, a file is a config. */
export const openTrained = (
  name: string,
  o: Options,
  t: Terminal,
): TE.TaskEither<Issues, Trained> =>
  fs.existsSync(name) && fs.statSync(name).isDirectory()
    ? pipe(
        fromResults(name),
        TE.chainFirst(({ config, folder }) => obtained(asked(config, o), folder, 'run', t)),
      )
    : pipe(
        // What is asked is not what the config learns from: `withRows` tells them apart.
        TE.fromEither(openConfig(name, { ...o, dataset: undefined })),
        TE.chainFirst(({ config, folder }) => obtained(asked(config, o), folder, 'run', t)),
        TE.map(({ config, folder, notices }) => {
          showNotices(name, notices, t)
          const named = config.adapter?.pretrained_adapter_weights ?? null
          const adapter = named === null ? null : adapterPath(named, folder)
          const nothing = { heads: null, untuned: null, began: false, trainedOn: null }
          return { config, folder, adapter, ...nothing }
        }),
      )

/** What was tuned, as it was before: the same precision, nothing learned. Null: it never was tuned. */
export const untuned = (x: Trained): Trained | null =>
  x.untuned === null
    ? null
    : {
        ...x,
        adapter: null,
        heads: null,
        began: false,
        trainedOn: null,
        config: {
          ...x.config,
          base_model: x.untuned,
          adapter: null,
          trainer: { ...x.config.trainer, type: 'none' },
        },
      }
