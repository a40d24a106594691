/** What a run's results say of it, as far as others may see it: no path of this machine is among it. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import { parseConfig, renderConfig, type Config } from '../config/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { headsFolder } from '../train/heads.ts'
import { descriptionName, modelFolder } from '../train/results.ts'
import { readJsonFile } from '../text-file.ts'

/** A metric's value on each split; null: it was not measured there. */
export interface MetricRow {
  readonly name: string
  readonly validation: number | null
  readonly test: number | null
}

export interface HeadFact {
  readonly name: string
  readonly kind: string
  readonly classes: ReadonlyArray<string>
}

export interface RunFacts {
  readonly config: Config
  /** As YAML, with its paths cut to names. */
  readonly configText: string
  readonly dataset: {
    /** A file's name, or an address. */
    readonly name: string
    readonly rows: number
    readonly sha256: string | null
    readonly findings: ReadonlyArray<string>
  } | null
  /** What heads predict; empty for a model that writes. */
  readonly heads: ReadonlyArray<HeadFact>
  readonly baseSha256: string
  /** Where the base lay; shown to nobody. */
  readonly baseFolder: string | null
  readonly backend: string
  readonly steps: number
  readonly tokens: number
  readonly seconds: number
  /** Of the evaluation whose weights were kept. */
  readonly metrics: ReadonlyArray<MetricRow>
  readonly plan: {
    readonly rows: number
    readonly length: number
    readonly totalBytes: number
    readonly device: string | null
    readonly techniques: Readonly<Record<string, unknown>>
    readonly equations: number
  }
}

const descriptionCodec = t.type({
  config: t.UnknownRecord,
  dataset: t.union([t.string, t.null]),
  rows: t.number,
  data_findings: t.readonlyArray(t.string),
  base_model_folder: t.union([t.string, t.null]),
  base_model_sha256: t.string,
  backend: t.string,
})

const planCodec = t.type({
  data: t.union([t.type({ sha256: t.union([t.string, t.null]) }), t.null]),
  device: t.union([t.type({ name: t.string }), t.null]),
  techniques: t.UnknownRecord,
  shapes: t.type({ rows: t.number, length: t.number }),
  totalBytes: t.number,
  program: t.string,
})

const series = t.record(t.string, t.record(t.string, t.readonlyArray(t.union([t.number, t.null]))))

const progressCodec = t.type({
  optimizer_steps: t.number,
  total_tokens_used: t.number,
  seconds: t.number,
  best_eval_metric_checkpoint_number: t.union([t.number, t.null]),
})

const statisticsCodec = t.type({ validation: series, test: series })

const read = <A>(file: string, codec: t.Decoder<unknown, A>): E.Either<Issues, A> =>
  pipe(
    readJsonFile(file),
    E.mapLeft(one),
    E.chain((json) =>
      pipe(
        codec.decode(json),
        E.mapLeft(() =>
          one(
            issue('this is not what a finished run leaves', {
              file,
              expected: 'a results folder, such as results/experiment_run',
            }),
          ),
        ),
      ),
    ),
  )

type Series = t.TypeOf<typeof series>

/** The n-th value of each metric of the outputs, from 1; null: the last. */
const valuesAt = (all: Series, n: number | null): ReadonlyMap<string, number> => {
  const features = Object.entries(all).filter(([feature]) => feature !== 'combined')
  return new Map(
    features.flatMap(([feature, metrics]) =>
      Object.entries(metrics).flatMap(([name, values]) => {
        const value = n === null ? values.at(-1) : values[n - 1]
        const full = features.length === 1 ? name : `${feature}.${name}`
        return value === null || value === undefined ? [] : [[full, value] as const]
      }),
    ),
  )
}

const metricsOf = (
  s: t.TypeOf<typeof statisticsCodec>,
  best: number | null,
): ReadonlyArray<MetricRow> => {
  const [validation, test] = [valuesAt(s.validation, best), valuesAt(s.test, null)]
  return [...new Set([...validation.keys(), ...test.keys()])].map((name) => ({
    name,
    validation: validation.get(name) ?? null,
    test: test.get(name) ?? null,
  }))
}

/** An address, or the last part of a path. */
const named = (name: string): string => (/^[a-z]+:\/\//.test(name) ? name : path.basename(name))

const shareable = (c: Config): Config => ({
  ...c,
  base_model: path.isAbsolute(c.base_model) ? path.basename(c.base_model) : c.base_model,
  compiler: {
    ...c.compiler,
    dataset: c.compiler.dataset === null ? null : named(c.compiler.dataset),
  },
})

/** What stands in findings before the name of a file. */
const withoutPaths = (text: string, file: string): string =>
  text.replaceAll(path.dirname(file) + path.sep, '')

const headsCodec = t.type({
  heads: t.readonlyArray(
    t.intersection([
      t.type({ name: t.string, kind: t.string }),
      t.partial({ classes: t.readonlyArray(t.string) }),
    ]),
  ),
})

const headsIn = (results: string, { model_type: type }: Config) =>
  type === 'ecd'
    ? pipe(
        read(path.join(headsFolder(results), 'heads.json'), headsCodec),
        E.map(({ heads }) =>
          heads.map(({ name, kind, classes = [] }): HeadFact => ({ name, kind, classes })),
        ),
      )
    : E.right([])

/** Left: the run has not finished, or a file of it is of another kind. */
export const factsOf = (results: string): E.Either<Issues, RunFacts> => {
  const model = modelFolder(results)
  const description = path.join(results, descriptionName)
  return pipe(
    E.Do,
    E.bind('is', () => read(description, descriptionCodec)),
    E.bind('plan', () => read(path.join(results, 'plan.json'), planCodec)),
    E.bind('progress', () => read(path.join(model, 'training_progress.json'), progressCodec)),
    E.bind('statistics', () =>
      read(path.join(results, 'training_statistics.json'), statisticsCodec),
    ),
    E.bind('parsed', ({ is }) => parseConfig(JSON.stringify(is.config), { file: description })),
    E.bind('heads', ({ parsed: { config } }) => headsIn(results, config)),
    E.map(({ is, plan, progress, statistics, heads, parsed: { config } }) => ({
      config,
      heads,
      configText: renderConfig(shareable(config)),
      dataset:
        is.dataset === null
          ? null
          : {
              name: named(config.compiler.dataset ?? is.dataset),
              rows: is.rows,
              sha256: plan.data?.sha256 ?? null,
              findings: is.data_findings.map((f) => withoutPaths(f, is.dataset!)),
            },
      baseSha256: is.base_model_sha256,
      baseFolder: is.base_model_folder,
      backend: is.backend,
      steps: progress.optimizer_steps,
      tokens: progress.total_tokens_used,
      seconds: progress.seconds,
      metrics: metricsOf(statistics, progress.best_eval_metric_checkpoint_number),
      plan: {
        rows: plan.shapes.rows,
        length: plan.shapes.length,
        totalBytes: plan.totalBytes,
        device: plan.device?.name ?? null,
        techniques: plan.techniques,
        equations: plan.program.split('\n').filter((line) => / = /.test(line)).length,
      },
    })),
  )
}
