/** The results folder, laid out as Ludwig's. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../issue.ts'
import { dataFindings } from '../plan/data-report.ts'
import { writeTrace } from '../plan/dump.ts'
import { writePlan } from '../plan/file.ts'
import { folderFingerprints, smallOnes, type Fingerprint } from '../plan/fingerprint.ts'
import type { Plan } from '../plan/plan.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { sumOf, writeSums } from '../tensors/sums.ts'
import { descriptionName } from './names.ts'
import type { Job } from './job.ts'
import { metricsOf, type Metrics } from './measured.ts'
import { metricOf } from './metric.ts'
import { bestOf, runningMetrics, type Evaluation, type Progress } from './progress.ts'
import type { Run } from './schedule.ts'

/** What a run was made of: whoever asks the trained model reads it, so it has a checksum. */
export { descriptionName }

export const modelFolder = (results: string): string => join(results, 'model')
export const weightsFolder = (results: string): string =>
  join(modelFolder(results), 'model_weights')
export const mergedFolder = (results: string): string => join(modelFolder(results), 'merged_model')

const isTaken = (e: unknown): boolean => e instanceof Error && 'code' in e && e.code === 'EEXIST'

/** Makes the folder that results folders lie in. Left also when nothing can be written into it. */
export const makeParent = (parent: string): TE.TaskEither<Issue, void> =>
  attempt('make the results folder', parent, async () => {
    await fs.mkdir(parent, { recursive: true })
    await fs.access(parent, fs.constants.W_OK)
  })

/** Makes `PARENT/EXPERIMENT_run`, or with `_0`, `_1`, … where that is taken, as Ludwig numbers runs. The parent must exist. */
export const makeRunFolder = (
  parent: string,
  experiment: string,
  model = 'run',
): TE.TaskEither<Issue, string> =>
  attempt('make the results folder', parent, async () => {
    for (let n = -1; ; n++) {
      const folder = join(parent, `${experiment}_${model}${n < 0 ? '' : `_${n}`}`)
      const made = await fs.mkdir(folder).then(
        () => true,
        (e: unknown) => {
          if (isTaken(e)) return false
          throw e
        },
      )
      if (made) return folder
    }
  })

/** NaN and the infinities become null. */
const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const writeJson = (file: string, value: unknown): TE.TaskEither<Issue, void> =>
  atomicWrite(file, Buffer.from(jsonText(value)))

const description = (plan: Plan, job: Job, files: ReadonlyArray<Fingerprint>) => ({
  config: plan.config,
  dataset: plan.data?.table.file ?? null,
  rows: plan.data?.table.rows.length ?? 0,
  data_findings: dataFindings(plan),
  base_model_folder: plan.base.folder,
  /** Whoever asks the trained model looks whether its base is still this one. */
  base_model_files: files,
  base_model_sha256: job.weights,
  backend: job.backend,
  random_seed: plan.config.random_seed,
})

/** What is known before the first step. */
export const writeBeginning = (results: string, plan: Plan, job: Job): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('make the folder', results, () => fs.mkdir(modelFolder(results), { recursive: true })),
    TE.chainEitherK(() =>
      plan.base.folder === null ? E.right([]) : folderFingerprints(plan.base.folder),
    ),
    TE.chain((files) => {
      const text = jsonText(description(plan, job, smallOnes(files)))
      return pipe(
        atomicWrite(join(results, descriptionName), Buffer.from(text)),
        TE.chain(() => writeSums(results, new Map([[descriptionName, sumOf(text)]]))),
      )
    }),
    TE.chain(() =>
      writeJson(join(modelFolder(results), 'model_hyperparameters.json'), plan.config),
    ),
    TE.chain(() => writePlan(plan, join(results, 'plan.json'))),
    TE.chain(() => writeTrace(plan.trace, join(results, 'ir'))),
  )

type Series = Readonly<Record<string, ReadonlyArray<number>>>

const series = (all: ReadonlyArray<Partial<Metrics>>): Series =>
  Object.fromEntries(
    [...new Set(all.flatMap(Object.keys))].map((m) => [m, all.map((x) => x[m] ?? NaN)]),
  )

const frequency = ({ trainer: t }: Plan['config'], run: Run) =>
  t.checkpoints_per_epoch > 0
    ? { frequency: 1 / t.checkpoints_per_epoch, period: 'epoch' }
    : t.steps_per_checkpoint > 0
      ? { frequency: run.interval, period: 'step' }
      : { frequency: 1, period: 'epoch' }

/** Ludwig's `training_statistics.json`: a list per metric with one entry per evaluation; the test split has one at the end. */
export const statistics = (
  plan: Plan,
  run: Run,
  history: ReadonlyArray<Evaluation>,
  test: Metrics | null,
) => {
  const { labels } = plan.base
  const features = plan.config.output_features.map((f) => f.name)
  const split = (all: ReadonlyArray<Partial<Metrics>>) => {
    const of = series(all)
    const { loss } = of
    const combined = loss === undefined ? {} : { loss }
    const own = (feature: string): Series =>
      labels === undefined
        ? of
        : Object.fromEntries(
            Object.entries(of).flatMap(([name, values]) =>
              name.startsWith(`${feature}.`) ? [[name.slice(feature.length + 1), values]] : [],
            ),
          )
    return { ...Object.fromEntries(features.map((f) => [f, own(f)])), combined }
  }
  return {
    training: split(history.map((e) => runningMetrics(e, labels === undefined))),
    validation: split(
      history.flatMap((e) => (e.validation === null ? [] : [metricsOf(e.validation)])),
    ),
    test: split(test === null ? [] : [test]),
    evaluation_frequency: frequency(plan.config, run),
  }
}

export const writeStatistics = (
  results: string,
  plan: Plan,
  run: Run,
  history: ReadonlyArray<Evaluation>,
  test: Metrics | null,
): TE.TaskEither<Issue, void> =>
  writeJson(join(results, 'training_statistics.json'), statistics(plan, run, history, test))

/** Ludwig's progress tracker; `steps` are its own, micro-batches. */
export const writeProgress = (
  results: string,
  plan: Plan,
  run: Run,
  ticks: number,
  p: Progress,
): TE.TaskEither<Issue, void> => {
  const metric = metricOf(plan.config)
  const best = bestOf(p.history, metric)
  const at = best === null ? undefined : p.history[best]
  return writeJson(join(modelFolder(results), 'training_progress.json'), {
    batch_size: run.batching.batch,
    epoch: ticks / run.ticksPerEpoch,
    steps: ticks,
    optimizer_steps: p.step,
    applied_steps: p.applied,
    checkpoint_number: p.history.length,
    learning_rate: p.history.at(-1)?.learningRate ?? null,
    validation_metric: metric,
    best_eval_metric_value:
      at === undefined || at.validation === null
        ? null
        : (metricsOf(at.validation)[metric] ?? null),
    best_eval_metric_steps: at?.ticks ?? null,
    best_eval_metric_epoch: at === undefined ? null : at.ticks / run.ticksPerEpoch,
    best_eval_metric_checkpoint_number: best === null ? null : best + 1,
    total_tokens_used: p.tokens,
    seconds: p.seconds,
    ...statistics(plan, run, p.history, null),
  })
}

/** Whether a folder is one that `makeRunFolder` and `writeBeginning` made. */
export const isRunFolder = (results: string): TE.TaskEither<Issue, boolean> =>
  attempt(
    'read the results folder',
    results,
    async () => (await ifExists(() => fs.lstat(join(results, descriptionName)))) !== undefined,
  )
