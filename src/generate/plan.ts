/** The program that answers without training: only `prefill` and `decode`, for a grid that suits the prompts. */
import type * as E from 'fp-ts/lib/Either.js'
import type { Compiled } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import type { Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { ModelSpec } from '../models/spec.ts'
import type { Techniques } from '../pipeline.ts'
import { askingProgram } from '../plan/asking.ts'
import { generationShapes, maxNewTokens } from '../plan/shapes.ts'
import type { Grid } from './generate.ts'
import { promptRoom } from './rows.ts'

/** A grid for prompts of these lengths (tokens), no wider than the prompts. */
export const gridFor = (c: Config, spec: ModelSpec, promptLengths: ReadonlyArray<number>): Grid => {
  const g = generationShapes(c, spec, promptLengths)
  return { ...g, prompt: promptRoom(g, maxNewTokens(c, spec)) }
}

/** Compiles the model as the techniques leave it, with nothing for training. Left: as `planOf`. */
export const generationPlan = (
  base: Base,
  techniques: Techniques,
  g: Grid,
  clock: () => number = () => 0,
): E.Either<Issues, Compiled> =>
  askingProgram(base, techniques, { rows: 1, length: 1, generate: g }, ['prefill', 'decode'], clock)
