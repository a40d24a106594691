/** All checks that need more than one key, run over what decoded well. */
import type { Problem } from '../problem.ts'
import type { Config } from '../schema/config.ts'
import { showPath } from '../yaml/node.ts'
import type { Check, Given } from './check.ts'
import { dataChecks } from './data.ts'
import { modelChecks } from './model.ts'
import { optimizerChecks } from './optimizer.ts'
import { outputChecks } from './outputs.ts'
import { preferenceChecks } from './preference.ts'
import { promptChecks } from './prompt.ts'
import { trainingChecks } from './training.ts'

const checks: ReadonlyArray<Check> = [
  ...dataChecks,
  ...outputChecks,
  ...promptChecks,
  ...modelChecks,
  ...trainingChecks,
  ...preferenceChecks,
  ...optimizerChecks,
]

const within = (inner: string, outer: string): boolean =>
  inner === outer || inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`)

/** `wrong`: what did not decode; a check that reads any of it would speak of a default. */
export const findProblems = (
  config: Config,
  given: Given,
  wrong: ReadonlyArray<Problem>,
): ReadonlyArray<Problem> => {
  const bad = wrong.map((p) => showPath(p.path))
  return checks
    .filter(({ reads }) => !reads.some((r) => bad.some((b) => within(b, r) || within(r, b))))
    .flatMap(({ find }) => find(config, given))
}
