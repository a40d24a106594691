/** A model to ask: the results of a run, or a config's base as it is; and the program and session that answer. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import type { Backend, Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import { importAdapter } from '../adapter/peft.ts'
import { parseConfig, type Config } from '../config/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { affordable } from '../machine.ts'
import { planOf, type Plan } from '../plan/plan.ts'
import { readJsonFile } from '../text-file.ts'
import { call } from '../train/problem.ts'
import { weightsFolder } from '../train/results.ts'
import { initializePlan } from '../train/state.ts'
import type { Options } from './command.ts'
import { openConfig, showNotices } from './open.ts'
import type { Terminal } from './terminal.ts'

export interface Trained {
  readonly config: Config
  readonly folder: string
  /** Null: the base as it is. */
  readonly adapter: string | null
}

const descriptionCodec = t.type({
  config: t.UnknownRecord,
  dataset: t.union([t.string, t.null]),
  base_model_folder: t.union([t.string, t.null]),
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

/** A run's results: its own config, with the base and the data where they were, and its adapter. */
const fromResults = (results: string): E.Either<Issues, Trained> => {
  const file = path.join(results, 'description.json')
  const weights = weightsFolder(path.resolve(results))
  return pipe(
    E.Do,
    E.bind('is', () => readDescription(file)),
    E.filterOrElse(
      () => fs.existsSync(weights),
      () => broken(results, 'the run has not finished, so there are no weights'),
    ),
    // JSON is YAML.
    E.bind('parsed', ({ is }) => parseConfig(JSON.stringify(is.config), { file })),
    E.map(({ is, parsed: { config } }) => {
      const lora = config.adapter !== null
      return {
        folder: path.resolve(results),
        adapter: lora ? weights : null,
        config: {
          ...config,
          base_model: lora ? (is.base_model_folder ?? config.base_model) : weights,
          compiler: { ...config.compiler, dataset: is.dataset },
        },
      }
    }),
  )
}

/** A folder is results, a file is a config. */
export const openTrained = (name: string, o: Options, t: Terminal): E.Either<Issues, Trained> =>
  fs.existsSync(name) && fs.statSync(name).isDirectory()
    ? fromResults(name)
    : pipe(
        openConfig(name, o),
        E.chainFirst(({ notices }) => E.right(showNotices(name, notices, t))),
        E.map(({ config, folder }) => ({ config, folder, adapter: null })),
      )

/** Decides shapes and reads data as a run would. A base that is asked as it is gets no adapter. */
export const planTrained = ({ config, folder }: Trained, t: Terminal): E.Either<Issues, Plan> =>
  planOf(config, { folder, clock: t.clock })

const filled = (
  session: Session,
  plan: Plan,
  program: Program,
  adapter: string | null,
): TE.TaskEither<Issues, void> =>
  pipe(
    initializePlan({ ...plan, program }, session),
    TE.mapLeft(one),
    TE.chain(() =>
      adapter === null || plan.techniques.lora === null
        ? TE.right(undefined)
        : importAdapter(session, program, plan.techniques.lora, adapter),
    ),
  )

/** Uses a session that holds the base's weights and the adapter's, and closes it. */
export const withSession = <A>(
  backend: Backend,
  plan: Plan,
  program: Program,
  adapter: string | null,
  use: (session: Session) => TE.TaskEither<Issues, A>,
): TE.TaskEither<Issues, A> =>
  TE.bracket(
    pipe(
      TE.fromEither(affordable(backend.name, arenaBytes(program))),
      TE.chain(() => call(backend.prepare(program))),
      TE.mapLeft(one),
    ),
    (session) =>
      pipe(
        filled(session, plan, program, adapter),
        TE.chain(() => use(session)),
      ),
    (session) => pipe(call(session.close()), TE.mapLeft(one)),
  )
