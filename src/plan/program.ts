/** A model's program under a list of passes. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { showReason } from '../../ir/reason.ts'
import { compile, shortName, type Compiled, type Pass, type PassError } from '../../passes/pass.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import { classifier } from '../models/labels.ts'
import { model, type Shapes } from '../models/llama.ts'
import { pipeline, type Techniques } from '../pipeline.ts'
import { countable } from './countable.ts'
import { machineOf, type Machine } from './machine.ts'

const blame: Readonly<Record<string, string>> = {
  lora: 'adapter',
  eightBit: 'trainer.optimizer.type',
  ia3: 'adapter',
  hold: 'trainer.layers_to_freeze_regex',
  neftune: 'model_parameters.neftune_noise_alpha',
  quantize: 'quantization',
  precision: 'compiler.compute_dtype',
  rematerialize: 'compiler.recompute',
}

/** A pass's refusal in the config's words. */
const passIssue = (e: PassError): Issue => {
  const section = blame[shortName(e.pass)]
  const match = e.reason._tag === 'NoMatch' ? e.reason : undefined
  const at = match?.of === undefined ? section : `${section}.${match.of}`
  const known = match?.known.join(', ') ?? ''
  return issue(`the pass ${e.pass} refuses: ${showReason(e.reason)}`, {
    ...(at === undefined ? {} : { path: at }),
    ...(known === '' ? {} : { expected: `one or more of ${known}` }),
  })
}

const forwardOf = ({ name, spec, labels }: Base, shapes: Shapes) =>
  labels === undefined
    ? model(path.basename(name), spec, shapes)
    : classifier(path.basename(name), spec, shapes, labels)

/** The base as a program of these shapes, after the passes. Left: sizes that cannot be counted, a model that cannot be built, a pass that refuses. */
export const programOf = (
  base: Base,
  shapes: Shapes,
  passes: ReadonlyArray<Pass>,
  clock: () => number,
): E.Either<Issues, Compiled> =>
  pipe(
    countable(base.spec, shapes),
    E.mapLeft(one),
    E.chain(() =>
      pipe(
        forwardOf(base, shapes),
        E.mapLeft((r) => one(issue(`the model cannot be built: ${showReason(r)}`))),
      ),
    ),
    E.chain((forward) =>
      pipe(
        compile(passes, clock)(forward),
        E.mapLeft((e) => one(passIssue(e))),
      ),
    ),
  )

/** The program that trains. Left: as `programOf`. */
export const compileWith = (
  base: Base,
  techniques: Techniques,
  shapes: Shapes,
  clock: () => number,
  machine: Machine = machineOf(null),
): E.Either<Issues, Compiled> =>
  programOf(base, shapes, pipeline(techniques, machine.measure), clock)
