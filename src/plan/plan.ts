/** A plan: everything a run needs, decided before it starts. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Room } from '../../backends/backend.ts'
import { lackingFloat8 } from '../../backends/cuda/lower/needs.ts'
import type { Program } from '../../ir/graph.ts'
import type { Stage } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import type { Target } from '../data/targets.ts'
import { datasetPath } from '../hub/dataset-path.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { findBase, type Base } from '../models/base.ts'
import { beyondBounds } from '../models/bounds.ts'
import type { Shapes } from '../models/llama.ts'
import { contextsFor } from '../retrieval/contexts.ts'
import type { Examples } from '../retrieval/pool.ts'
import type { Techniques } from '../pipeline.ts'
import { agreeing } from './agreeing.ts'
import { pretrainedOf, type Pretrained } from './adapter.ts'
import { chosenFor, type Considered } from './choose.ts'
import { longRow, prepareDataset, type Dataset } from './dataset.ts'
import { labelsOf } from './labelled.ts'
import { deviceFor, type Device } from './device.ts'
import { machineOf } from './machine.ts'
import { computeDtype } from './techniques.ts'

export interface Plan {
  readonly config: Config
  /** The folder that relative paths of the config start from. */
  readonly folder: string
  readonly base: Base
  /** The adapter that training goes on from; null: it starts anew. */
  readonly pretrained: Pretrained | null
  readonly data: Dataset | null
  readonly techniques: Techniques
  readonly shapes: Shapes
  /** The scheduled program a backend runs. */
  readonly program: Program
  readonly trace: ReadonlyArray<Stage>
  /** What a backend with one static arena allocates: weights, state and the hungriest function's temporaries. */
  readonly arenaBytes: number
  /** With what the backend takes besides: of a GPU its context, libraries and their workspace. */
  readonly totalBytes: number
  /** What is planned for; null: a CPU. */
  readonly device: Device | null
  /** How the program uses the device's memory; null: a CPU, which has no choice. */
  readonly room: Room | null
  /** Bytes that the config allows; null: none are named. */
  readonly budget: number | null
  /** The shapes before a budget had its say. */
  readonly wanted: Shapes
  /** What was chosen and what else would have fitted, fastest first; empty where nothing was weighed. */
  readonly considered: ReadonlyArray<Considered>
}

/** What a plan is made of besides its config. */
export interface Setting {
  readonly folder: string
  /** Milliseconds, for the trace. */
  readonly clock: () => number
  /** What it is planned for; absent: what the config's backend means where no GPU is at hand. */
  readonly device?: Device | null
  /** Rows are asked, so those without an answer count, too. */
  readonly asking?: boolean
  /** Where the training rows are that prompts show, if not in the data itself. */
  readonly examples?: Examples | null
  /** Of heads that are trained already; absent: the data decides what they predict. */
  readonly targets?: ReadonlyArray<Target>
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

/** Bytes that the config allows; null where it names none. Left: it asks a GPU that is not here. */
const budgetOf = (c: Config, device: Device | null): E.Either<Issues, number | null> => {
  const { memory_budget: said } = c.compiler
  if (said !== 'auto') return E.right(said)
  return device?.freeBytes !== null && device?.freeBytes !== undefined
    ? E.right(device.freeBytes)
    : E.left(
        one(
          issue('memory_budget: auto is what is free on a GPU, and no GPU is planned for here', {
            path: 'compiler.memory_budget',
            expected: 'an amount such as 16GB',
            hint: 'tunec doctor shows why no GPU works here',
          }),
        ),
      )
}

/** Left: the GPU that is planned for cannot compute as the config asks. */
const computable = (c: Config, device: Device | null): E.Either<Issues, void> => {
  const asked = device !== null && computeDtype(c, device.target) === 'float8'
  const lack = asked ? lackingFloat8(device.target) : null
  return lack === null
    ? E.right(undefined)
    : E.left(one(issue(lack.why, { path: 'compiler.compute_dtype', hint: lack.hint })))
}

/** Left: the model whose embeddings prompts go by is none that is known. */
const embeddable = (c: Config, folder: string): E.Either<Issues, unknown> => {
  const name = c.prompt.retrieval.model_name
  return name === null
    ? E.right(undefined)
    : pipe(
        findBase(name, folder),
        E.mapLeft((i) => one({ ...i, path: 'prompt.retrieval.model_name' })),
      )
}

const datasetOf = (
  c: Config,
  base: Base,
  { folder, asking = false, targets, examples = null }: Setting,
): E.Either<Issues, Dataset | null> => {
  const file = c.compiler.dataset
  if (file === null || base.folder === null) return E.right(null)
  const { row_length: length } = c.compiler
  return pipe(
    pipe(datasetPath(file, folder), E.mapLeft(one)),
    E.chain((at) =>
      prepareDataset(c, at, base.folder!, base.spec, {
        asking,
        contexts: contextsFor(c, base, folder, examples),
        ...(targets === undefined ? {} : { targets }),
      }),
    ),
    E.chain((data) => {
      const long = length === 'auto' ? null : longRow(data, length)
      return long === null ? E.right(data) : E.left(one(long))
    }),
  )
}

/** Compiles a config. Left: every problem of model, data and passes. Whether it fits a budget is `fits`' question. */
export const planOf = (c: Config, setting: Setting): E.Either<Issues, Plan> => {
  const { folder, clock, device: asked } = setting
  return pipe(
    E.Do,
    E.bind('bare', () =>
      pipe(
        findBase(c.base_model, folder),
        E.chainFirst((b) => agreeing(c, b)),
        E.chain((b) => adjusted(c, b)),
        E.mapLeft(one),
      ),
    ),
    E.chainFirst(() => embeddable(c, folder)),
    E.bind('pretrained', () => E.mapLeft(one)(pretrainedOf(c, folder))),
    E.bind('data', ({ bare }) => datasetOf(c, bare, setting)),
    E.let('base', ({ bare, data }) => {
      const labels = labelsOf(c, data, setting.targets)
      return labels === undefined ? bare : { ...bare, labels }
    }),
    E.let('device', () => (asked === undefined ? deviceFor(c, null) : asked)),
    E.chainFirst(({ device }) => computable(c, device)),
    E.bind('budget', ({ device }) => budgetOf(c, device)),
    E.bind('made', ({ base, pretrained, data, device, budget }) =>
      chosenFor({ config: c, base, pretrained, data, budget, machine: machineOf(device), clock }),
    ),
    E.map(({ base, pretrained, data, device, budget, made: { compiled, ...made } }) => ({
      config: c,
      folder,
      base,
      pretrained,
      data,
      device,
      budget,
      ...made,
      program: compiled.program,
      trace: compiled.trace,
    })),
  )
}
