/** The program of a model that is asked, not trained: some of its functions, after the passes that change the model. */
import type * as E from 'fp-ts/lib/Either.js'
import { asked, schedule, simplify } from '../../passes/index.ts'
import type { Compiled } from '../../passes/pass.ts'
import type { Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { Shapes } from '../models/llama.ts'
import { modelPasses, type Techniques } from '../pipeline.ts'
import { programOf } from './program.ts'

/** `fns` of `evaluate`, `prefill` and `decode`, for these shapes. Left: as `planOf`. */
export const askingProgram = (
  base: Base,
  techniques: Techniques,
  shapes: Shapes,
  fns: ReadonlyArray<string>,
  clock: () => number = () => 0,
): E.Either<Issues, Compiled> =>
  programOf(base, shapes, [...modelPasses(techniques), asked(fns), simplify, schedule], clock)
