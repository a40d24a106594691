/** The end of a run: the best weights again, their metrics, the files, the answers. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { exportModel } from '../adapter/full.ts'
import type { Carried } from '../adapter/carried.ts'
import { mergeAdapter } from '../adapter/merge.ts'
import { exportAdapter, hasLearned } from '../adapter/export.ts'
import type { Issue } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { restoreBest, type Saving } from './checkpoint.ts'
import { blameRows, evaluated } from './evaluate.ts'
import type { Kept } from './events.ts'
import { exportHeads, headsFolder, withoutHeads } from './heads.ts'
import type { Ended, Loop } from './loop.ts'
import { metricsOf, type Metrics } from './measured.ts'
import { metricOf } from './metric.ts'
import { bestOf, runningMetrics, type Progress } from './progress.ts'
import { mergedFolder, weightsFolder, writeStatistics } from './results.ts'
import { startOf } from './start.ts'
import type { TrainOptions, TrainResult } from './train.ts'

const keptOf = (plan: Plan, p: Progress): Kept => {
  const { skip_all_evaluation: skipped } = plan.config.trainer
  const metric = metricOf(plan.config)
  const best = bestOf(p.history, metric)
  if (best !== null) return { _tag: 'best', step: p.history[best]!.step }
  return {
    _tag: 'last',
    why: skipped
      ? 'skip_all_evaluation is set, so there is no best one to choose'
      : p.history.some((e) => e.validation !== null)
        ? `no evaluation gave a finite ${metric}`
        : p.history.length === 0
          ? 'there was no evaluation yet'
          : 'there are no validation rows, so there is no best one to choose',
  }
}

/** What a written model has to say besides what its base's files say. */
const carriedOf = ({ config, base, data }: Plan): Carried => ({
  scaling: config.model_parameters.rope_scaling,
  eosIds: data?.tokenizer.eosIds ?? [],
  tied: base.spec.tied,
})

const written = ({ session, plan }: Loop, folder: string): TE.TaskEither<Issue, void> => {
  const { base, techniques } = plan
  const program = withoutHeads(plan.program)
  // A run begins only with a base that has a folder.
  const baseFolder = base.folder ?? ''
  return techniques.lora === null
    ? exportModel(session, program, base.name, baseFolder, folder, carriedOf(plan))
    : exportAdapter(
        {
          session,
          program,
          lora: techniques.lora,
          baseModel: base.name,
          baseFolder,
          carried: carriedOf(plan),
          start: startOf(plan),
        },
        folder,
      )
}

/** The model or its adapter, and heads over it. Gives the folder that says what was learned. */
const exported = (l: Loop, results: string): TE.TaskEither<Issue, string> => {
  const { base, program, techniques, data } = l.plan
  const folder = weightsFolder(results)
  if (base.labels === undefined) return TE.map(() => folder)(written(l, folder))
  const heads = headsFolder(results)
  const alone = techniques.heads === 'alone'
  return pipe(
    alone ? TE.right(undefined) : written(l, folder),
    TE.chain(() => exportHeads(l.session, program, base.labels!, data?.targets ?? [], heads)),
    TE.map(() => (alone ? heads : folder)),
  )
}

const merged = (
  plan: Plan,
  adapter: string,
  results: string,
): TE.TaskEither<Issue, string | null> => {
  const wanted = plan.config.adapter?.postprocessor.merge_adapter_into_base_model === true
  const { folder } = plan.base
  const into = mergedFolder(results)
  return wanted && folder !== null
    ? TE.map(() => into)(mergeAdapter(folder, adapter, into, carriedOf(plan)))
    : TE.right(null)
}

const testMetrics = (l: Loop): TE.TaskEither<Issue, Metrics | null> => {
  const { trainer } = l.plan.config
  const samples = evaluated(trainer, l.run.batching, l.data.samples.test)
  return trainer.skip_all_evaluation || samples.length === 0
    ? TE.right(null)
    : TE.map(metricsOf)(l.task.measure(l.session, samples, blameRows(l.data.table)))
}

/** Of the evaluation whose weights were kept. */
const keptMetrics = (p: Progress, kept: Kept, ofText: boolean) => {
  const at = kept._tag === 'best' ? p.history.find((e) => e.step === kept.step) : p.history.at(-1)
  return {
    train: at === undefined ? null : runningMetrics(at, ofText),
    validation: at === undefined || at.validation === null ? null : metricsOf(at.validation),
  }
}

interface Files {
  readonly adapterFolder: string | null
  readonly mergedFolder: string | null
}

/** A stopped run writes its adapter as far as it has one; everything is written again when the run ends. */
const unfinished = (l: Loop, results: string): TE.TaskEither<Issue, Files> =>
  pipe(
    l.plan.techniques.lora === null
      ? TE.right(false)
      : hasLearned(l.session, l.plan.program, startOf(l.plan)),
    TE.chain((learned) =>
      learned
        ? pipe(
            exported(l, results),
            TE.map((folder): Files => ({ adapterFolder: folder, mergedFolder: null })),
          )
        : TE.right<Issue, Files>({ adapterFolder: null, mergedFolder: null }),
    ),
  )

const finished = (l: Loop, results: string): TE.TaskEither<Issue, Files> =>
  pipe(
    exported(l, results),
    TE.chain((adapterFolder) =>
      pipe(
        merged(l.plan, adapterFolder, results),
        TE.map((mergedFolder): Files => ({ adapterFolder, mergedFolder })),
      ),
    ),
  )

const files = (l: Loop, s: Saving, end: Ended['end']): TE.TaskEither<Issue, Files> =>
  end === 'stopped' ? unfinished(l, s.resultsFolder) : finished(l, s.resultsFolder)

/** Reloads the best weights, evaluates the test split, writes everything, and lets the model answer. */
export const conclude = <A>(
  l: Loop,
  s: Saving,
  ended: Ended,
  before: A | null,
  o: TrainOptions<A>,
): TE.TaskEither<Issue, Omit<TrainResult<A>, 'encoded'>> => {
  const { progress: p, end } = ended
  const kept = keptOf(l.plan, p)
  const stopped = end === 'stopped'
  if (end !== 'finished')
    o.onEvent({ _tag: 'stopped', why: stopped ? 'asked' : 'early', step: p.step })
  return pipe(
    TE.Do,
    TE.bind('_', () => (kept._tag === 'best' ? restoreBest(s) : TE.right(undefined))),
    TE.bind('files', () => files(l, s, end)),
    TE.bind('test', () => (stopped ? TE.right(null) : testMetrics(l))),
    TE.chainFirst(({ test }) => writeStatistics(s.resultsFolder, l.plan, l.run, p.history, test)),
    TE.bind('after', () =>
      stopped ? TE.right(null) : (o.answer?.(l.session, 'after') ?? TE.right(null)),
    ),
    TE.map(({ files: written, test, after }) => {
      o.onEvent({ _tag: 'done', step: p.step, kept, ...written })
      return {
        resultsFolder: s.resultsFolder,
        ...written,
        kept,
        metrics: { ...keptMetrics(p, kept, l.plan.base.labels === undefined), test },
        history: p.history,
        stopped,
        steps: p.step,
        tokens: p.tokens,
        seconds: p.seconds,
        answers: before === null ? null : { before, after },
      }
    }),
  )
}
