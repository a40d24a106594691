/** The compiler as a library: compile, train, print, and write programs and passes of one's own. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { stringify } from 'yaml'
import type { Backend } from '../backends/backend.ts'
import type { Program } from '../ir/graph.ts'
import { parse } from '../ir/parse.ts'
import { print } from '../ir/print.ts'
import type { Reason } from '../ir/reason.ts'
import { tensor } from '../ir/type.ts'
import * as passes from '../passes/index.ts'
import { compile as runPasses, type Compiled, type Pass, type PassError } from '../passes/pass.ts'
import { rewrite } from '../passes/rewrite.ts'
import { choose, type BackendName } from './backends.ts'
import { parseConfig, type ParsedConfig } from './config/index.ts'
import { evaluate, fn } from './functions.ts'
import { issue, one, type Issues } from './issue.ts'
import { findBase } from './models/base.ts'
import { model } from './models/llama.ts'
import { readSpec } from './models/spec.ts'
import { pipeline } from './pipeline.ts'
import { diffStages, sizesOf, stageTitle } from './plan/dump.ts'
import { readPlan, writePlan } from './plan/file.ts'
import { fitOf } from './plan/fit.ts'
import { footprintOf } from './plan/footprint.ts'
import { ladderOf } from './plan/ladder.ts'
import { planOf, type Plan } from './plan/plan.ts'
import { renderIssues } from './report/issues.ts'
import { renderLadder } from './report/ladder.ts'
import { renderParseError, renderPassError } from './report/reason.ts'
import { plain } from './report/style.ts'
import { visible } from './report/visible.ts'
import { readText } from './text-file.ts'
import type { TrainEvent } from './train/events.ts'
import { foresee } from './train/foresee.ts'
import { train as runTraining, type TrainResult } from './train/train.ts'

/** A YAML file, or an object with the same keys. */
export type ConfigSource = string | { readonly [key: string]: unknown }

export interface CompileOptions {
  /** Where relative paths start: the file's own folder, or for an object the working directory. */
  readonly folder?: string
  /** Ignore unknown keys, as Ludwig does. */
  readonly lenient?: boolean
  /** Milliseconds, for the times in the trace. */
  readonly clock?: () => number
}

export type TrainError = Issues

export interface DslTrainOptions {
  /** Else the config's `compiler.backend`. */
  readonly backend?: Backend | BackendName | 'auto'
  readonly resultsFolder?: string
  readonly experimentName?: string
  readonly resume?: string
  readonly onEvent?: (event: TrainEvent) => void
  readonly stop?: () => boolean
  readonly clock?: () => number
}

const textOf = (source: ConfigSource): E.Either<Issues, string> =>
  typeof source === 'string'
    ? pipe(
        readText(source),
        E.chain(E.fromNullable(issue('there is no such file', { file: source }))),
        E.mapLeft(one),
      )
    : E.right(stringify(source))

/** The complete config with what is worth knowing about it. Left: every problem, each with its place. */
const read = (source: ConfigSource, o: CompileOptions = {}): E.Either<Issues, ParsedConfig> =>
  pipe(
    textOf(source),
    E.chain((text) =>
      parseConfig(text, {
        file: typeof source === 'string' ? source : 'config',
        lenient: o.lenient ?? false,
      }),
    ),
  )

/** From a config to a plan. Left: every problem of config, model, data and passes. */
const compile = (source: ConfigSource, o: CompileOptions = {}): E.Either<Issues, Plan> =>
  pipe(
    read(source, o),
    E.chain(({ config }) =>
      planOf(config, {
        folder: o.folder ?? (typeof source === 'string' ? path.dirname(path.resolve(source)) : '.'),
        clock: o.clock ?? (() => 0),
      }),
    ),
    E.chain(foresee),
  )

const backendOf = (plan: Plan, asked: DslTrainOptions['backend']): TE.TaskEither<Issues, Backend> =>
  typeof asked === 'object'
    ? TE.right(asked)
    : async () => {
        const chosen = await choose(asked ?? plan.config.compiler.backend)
        return 'why' in chosen
          ? E.left(one(issue(chosen.why, { path: 'compiler.backend' })))
          : E.right(chosen)
      }

/** Trains. Left: every expected failure; a checkpoint, once written, stays good. */
const train = (
  plan: Plan,
  o: DslTrainOptions = {},
): TE.TaskEither<TrainError, TrainResult<never>> =>
  pipe(
    backendOf(plan, o.backend),
    TE.chain((backend) =>
      runTraining<never>(plan, backend, {
        resultsFolder: o.resultsFolder ?? 'results',
        experimentName: o.experimentName ?? 'experiment',
        ...(o.resume === undefined ? {} : { resume: o.resume }),
        onEvent: o.onEvent ?? (() => {}),
        stop: o.stop ?? (() => false),
        clock: o.clock ?? (() => performance.now()),
      }),
    ),
  )

/** Runs one pass: the result is verified and the pass's promise checked. */
const run =
  (pass: Pass) =>
  (p: Program): E.Either<PassError, Program> =>
    pipe(
      runPasses([pass])(p),
      E.map((c) => c.program),
    )

/** Runs passes in order and keeps the program after each. */
const compose =
  (...list: ReadonlyArray<Pass>) =>
  (p: Program): E.Either<PassError, Compiled> =>
    runPasses(list)(p)

/** An architecture by hub id or folder, with no weights read. */
const base = (name: string, folder = '.') => pipe(findBase(name, folder), E.mapLeft(one))

/** Fetches a hub's model, or a dataset's file by its hf:// address, into Hugging Face's cache; where it lies. Compiling asks nobody. */
const download =
  (name: string): TE.TaskEither<Issues, string> =>
  async () => {
    const { downloaded } = await import('./hub/download-by-name.ts')
    return pipe(downloaded(name), TE.mapLeft(one))()
  }

const sourceOf = (file: string): string | undefined =>
  fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined

/** Problems as a person reads them: with the line of the config, or the equations, that they are about. */
const explain = (problem: Issues | PassError): string =>
  visible(
    ('pass' in problem
      ? renderPassError(problem, plain)
      : renderIssues(problem, sourceOf, plain)
    ).join('\n'),
  )

/** The same for text that `parse` refused. */
const explainText = (reason: Reason, text: string): string =>
  renderParseError(reason, text, plain).join('\n')

export const dsl = {
  read,
  compile,
  train,
  download,
  print,
  parse,
  explain,
  explainText,
  /** Plans as files. */
  writePlan,
  readPlan,
  /** Every pass of the compiler; `rewrite` is the traversal they are written with. */
  passes: { ...passes, rewrite },
  run,
  compose,
  pipeline,
  /** Architectures, and the forward program of one. */
  base,
  spec: readSpec,
  model,
  /** Tensor functions. */
  tensor,
  fn,
  evaluate,
  /** What programs and plans weigh. */
  ladder: (plan: Plan) => ladderOf(plan),
  showLadder: (plan: Plan) =>
    pipe(
      ladderOf(plan),
      E.map((l) => renderLadder(l, plain).join('\n')),
    ),
  fit: fitOf,
  footprint: (p: Program) => footprintOf(p),
  sizes: sizesOf,
  diff: diffStages,
  title: stageTitle,
} as const
