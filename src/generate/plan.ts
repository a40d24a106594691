/** The program that answers without training: only `prefill` and `decode`, for a grid that suits the prompts. */
import type * as E from 'fp-ts/lib/Either.js'
import type { Compiled } from '../../passes/pass.ts'
import type { Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import { generationNames } from '../models/llama.ts'
import type { Techniques } from '../pipeline.ts'
import { askingProgram } from '../plan/asking.ts'
import type { Grid } from './generate.ts'

/** Compiles the model as the techniques leave it, with nothing for training. Left: as `planOf`. */
export const generationPlan = (
  base: Base,
  techniques: Techniques,
  g: Grid,
  clock: () => number = () => 0,
): E.Either<Issues, Compiled> =>
  askingProgram(base, techniques, { rows: 1, length: 1, generate: g }, generationNames(g), clock)
