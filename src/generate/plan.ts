/** The program that answers without training: only `prefill` and `decode`, for a grid that suits the prompts. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import path from 'node:path'
import { showReason } from '../../ir/reason.ts'
import { schedule, simplify } from '../../passes/index.ts'
import { compile, type Compiled } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import { issue, one, type Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import { model } from '../models/llama.ts'
import type { ModelSpec } from '../models/spec.ts'
import { modelPasses, type Techniques } from '../pipeline.ts'
import { passIssue } from '../plan/plan.ts'
import { generationShapes, maxNewTokens } from '../plan/shapes.ts'
import type { Grid } from './generate.ts'
import { promptRoom } from './rows.ts'

/** A grid for prompts of these lengths (tokens): as many rows as batches of equal size need, no wider than the prompts. */
export const gridFor = (c: Config, spec: ModelSpec, promptLengths: ReadonlyArray<number>): Grid => {
  const g = generationShapes(c, spec, promptLengths)
  const batches = Math.ceil(promptLengths.length / g.batch)
  return {
    ...g,
    batch: Math.max(1, Math.ceil(promptLengths.length / Math.max(1, batches))),
    prompt: promptRoom(g, maxNewTokens(c, spec)),
  }
}

/** Compiles the model as the techniques leave it, with nothing for training. Left: as `planOf`. */
export const generationPlan = (
  base: Base,
  techniques: Techniques,
  g: Grid,
  clock: () => number = () => 0,
): E.Either<Issues, Compiled> =>
  pipe(
    model(path.basename(base.name), base.spec, { rows: 1, length: 1, generate: g }),
    E.mapLeft((r) => one(issue(`the model cannot be built: ${showReason(r)}`))),
    E.map((p) => ({ ...p, fns: p.fns.filter((f) => ['prefill', 'decode'].includes(f.name)) })),
    E.chain((p) =>
      pipe(
        compile([...modelPasses(techniques), simplify, schedule], clock)(p),
        E.mapLeft((e) => one(passIssue(e))),
      ),
    ),
  )
