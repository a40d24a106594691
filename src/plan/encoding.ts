/** The program that reads each row once for a frozen encoder: a vector a sample. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { showReason } from '../../ir/reason.ts'
import { schedule, simplify } from '../../passes/index.ts'
import { compile, type Compiled } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import type { Sample } from '../data/samples.ts'
import { lengthOf } from '../data/pack.ts'
import { issue, one, type Issues } from '../issue.ts'
import { encoder, type Labels } from '../models/labels.ts'
import type { Shapes } from '../models/llama.ts'
import { modelPasses, type Techniques } from '../pipeline.ts'
import type { Plan } from './plan.ts'
import { cpuShapes, gpuShapes } from './shape-costs.ts'
import { gridOf } from './shapes.ts'
import { ofBase, techniquesOf } from './techniques.ts'

/** The config as it would be if the encoder ran in every step. */
const uncached = (c: Config): Config => {
  const [input] = c.input_features
  return {
    ...c,
    input_features: [
      { ...input, preprocessing: { ...input.preprocessing, cache_encoder_embeddings: false } },
    ],
    compiler: { ...c.compiler, row_length: 'auto', micro_batch_rows: 'auto' },
  }
}

export interface Encoding {
  readonly compiled: Compiled
  readonly techniques: Techniques
  readonly labels: Labels
  readonly shapes: Shapes
}

/** For these samples. Left: a model that cannot be built. */
export const encodingOf = (
  { config, base, device }: Plan,
  samples: ReadonlyArray<Sample>,
  clock: () => number,
): E.Either<Issues, Encoding> => {
  const c = uncached(config)
  const techniques: Techniques = {
    ...ofBase(techniquesOf(c, null, device?.target ?? null), base),
    lora: null,
    frozen: true,
  }
  const { heads: _, ...alone } = techniques
  const labels: Labels = { ...base.labels!, cached: false }
  const longest = samples.reduce((n, s) => Math.max(n, lengthOf(s)), 1)
  const costs = device === null ? cpuShapes : gpuShapes(device)
  const shapes: Shapes = {
    ...gridOf(c, base.spec, [samples], longest, {
      ...costs,
      tokens: Math.min(costs.tokens, costs.batchTokens),
    }),
    generate: null,
  }
  return pipe(
    encoder(path.basename(base.name), base.spec, shapes, labels),
    E.mapLeft((r) => one(issue(`the encoder cannot be built: ${showReason(r)}`))),
    E.chain((forward) =>
      pipe(
        compile([...modelPasses(alone), simplify, schedule], clock)(forward),
        E.mapLeft((e) => one(issue(`the pass ${e.pass} refuses: ${showReason(e.reason)}`))),
      ),
    ),
    E.map((compiled) => ({ compiled, techniques: alone, labels, shapes })),
  )
}
