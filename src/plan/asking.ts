/** The program of a model that is asked, not trained: some of its functions, after the passes that change the model. */
import * as E from 'fp-ts/lib/Either.js'
import { schedule, simplify } from '../../passes/index.ts'
import type { Compiled, Pass } from '../../passes/pass.ts'
import type { Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { Shapes } from '../models/llama.ts'
import { modelPasses, type Techniques } from '../pipeline.ts'
import { programOf } from './program.ts'

/** After the passes that look at weights: what tells the output head from a linear layer is how other functions use it. */
const asked = (fns: ReadonlyArray<string>): Pass => ({
  name: `asked(${fns.join(', ')})`,
  keeps: 'exact',
  run: (p) => E.right({ ...p, fns: p.fns.filter((f) => fns.includes(f.name)) }),
  promise: (p) => {
    const other = p.fns.find((f) => !fns.includes(f.name))
    return other === undefined ? null : `@${other.name} is not asked for`
  },
})

/** `fns` of `evaluate`, `prefill` and `decode`, for these shapes. Left: as `planOf`. */
export const askingProgram = (
  base: Base,
  techniques: Techniques,
  shapes: Shapes,
  fns: ReadonlyArray<string>,
  clock: () => number = () => 0,
): E.Either<Issues, Compiled> =>
  programOf(base, shapes, [...modelPasses(techniques), asked(fns), simplify, schedule], clock)
