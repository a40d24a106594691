/** A plan: everything a run needs, decided before it starts. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Program } from '../../ir/graph.ts'
import { showReason } from '../../ir/reason.ts'
import { compile, shortName, type Compiled, type PassError, type Stage } from '../../passes/pass.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import type { Config } from '../config/schema/config.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { beyondBounds } from '../models/bounds.ts'
import { findBase, type Base } from '../models/base.ts'
import { model, type Shapes } from '../models/llama.ts'
import { pipeline, type Techniques } from '../pipeline.ts'
import { countable } from './countable.ts'
import { longRow, prepareDataset, type Dataset } from './dataset.ts'
import { shapesOf } from './shapes.ts'
import { techniquesOf } from './techniques.ts'

export interface Plan {
  readonly config: Config
  /** The folder that relative paths of the config start from. */
  readonly folder: string
  readonly base: Base
  readonly data: Dataset | null
  readonly techniques: Techniques
  readonly shapes: Shapes
  /** The scheduled program a backend runs. */
  readonly program: Program
  readonly trace: ReadonlyArray<Stage>
  /** What a backend with one static arena allocates: weights, state and the hungriest function's temporaries. */
  readonly arenaBytes: number
}

/** What a plan is made of besides its config. */
export interface Setting {
  readonly folder: string
  /** Milliseconds, for the trace. */
  readonly clock: () => number
}

const blame: Readonly<Record<string, string>> = {
  lora: 'adapter.target_modules',
  quantize: 'quantization',
  precision: 'compiler.compute_dtype',
  rematerialize: 'compiler.recompute',
}

/** A pass's refusal in the config's words. */
export const passIssue = (e: PassError): Issue => {
  const at = blame[shortName(e.pass)]
  const known = e.reason._tag === 'NoMatch' ? e.reason.known.join(', ') : ''
  return issue(`the pass ${e.pass} refuses: ${showReason(e.reason)}`, {
    ...(at === undefined ? {} : { path: at }),
    ...(known === '' ? {} : { expected: `one or more of ${known}` }),
  })
}

/** `model_parameters` over what the model's own config.json says. Left: a factor that no position survives. */
const adjusted = (c: Config, base: Base): E.Either<Issue, Base> => {
  const scaling = c.model_parameters.rope_scaling
  if (scaling === null) return E.right(base)
  const rope = {
    ...base.spec.rope,
    factor: scaling.factor,
    lowFreqFactor: 0,
    highFreqFactor: 0,
    originalContext: 0,
  }
  const context = Math.floor(base.spec.context * scaling.factor)
  const spec = { ...base.spec, rope, context }
  const beyond = beyondBounds(spec)
  return beyond === null
    ? E.right({ ...base, spec })
    : E.left({ ...beyond, path: 'model_parameters.rope_scaling.factor' })
}

export const compileWith = (
  base: Base,
  techniques: Techniques,
  shapes: Shapes,
  clock: () => number,
): E.Either<Issues, Compiled> =>
  pipe(
    countable(base.spec, shapes),
    E.mapLeft(one),
    E.chain(() =>
      pipe(
        model(path.basename(base.name), base.spec, shapes),
        E.mapLeft((r) => one(issue(`the model cannot be built: ${showReason(r)}`))),
      ),
    ),
    E.chain((forward) =>
      pipe(
        compile(pipeline(techniques), clock)(forward),
        E.mapLeft((e) => one(passIssue(e))),
      ),
    ),
  )

/** Halves the rows of a micro-batch until the arena is within the budget, or one row is left. */
const shrunk = (
  base: Base,
  techniques: Techniques,
  shapes: Shapes,
  c: Config,
  clock: () => number,
): E.Either<Issues, { readonly compiled: Compiled; readonly shapes: Shapes }> => {
  const { memory_budget: budget, micro_batch_rows: rows } = c.compiler
  return pipe(
    compileWith(base, techniques, shapes, clock),
    E.chain((compiled) =>
      budget === null ||
      rows !== 'auto' ||
      shapes.rows === 1 ||
      arenaBytes(compiled.program) <= budget
        ? E.right({ compiled, shapes })
        : shrunk(base, techniques, { ...shapes, rows: Math.ceil(shapes.rows / 2) }, c, clock),
    ),
  )
}

const datasetOf = (c: Config, base: Base, folder: string): E.Either<Issues, Dataset | null> => {
  const file = c.compiler.dataset
  if (file === null || base.folder === null) return E.right(null)
  const { row_length: length } = c.compiler
  return pipe(
    prepareDataset(c, path.resolve(folder, file), base.folder, base.spec),
    E.chain((data) => {
      const long = length === 'auto' ? null : longRow(data, length)
      return long === null ? E.right(data) : E.left(one(long))
    }),
  )
}

/** Compiles a config. Left: every problem of model, data and passes. Whether it fits a budget is `fits`' question. */
export const planOf = (c: Config, { folder, clock }: Setting): E.Either<Issues, Plan> =>
  pipe(
    E.Do,
    E.bind('base', () =>
      pipe(
        findBase(c.base_model, folder),
        E.chain((b) => adjusted(c, b)),
        E.mapLeft(one),
      ),
    ),
    E.bind('data', ({ base }) => datasetOf(c, base, folder)),
    E.bind('techniques', () => E.right(techniquesOf(c))),
    E.bind('made', ({ base, data, techniques }) =>
      shrunk(base, techniques, shapesOf(c, base.spec, data), c, clock),
    ),
    E.map(({ base, data, techniques, made }) => ({
      config: c,
      folder,
      base,
      data,
      techniques,
      shapes: made.shapes,
      program: made.compiled.program,
      trace: made.compiled.trace,
      arenaBytes: arenaBytes(made.compiled.program),
    })),
  )
