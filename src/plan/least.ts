/** A GPU that is too small for a plan, and the least memory that its config can be trained in. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import { size } from '../report/units.ts'
import { chosenFor } from './choose.ts'
import { machineOf } from './machine.ts'
import type { Plan } from './plan.ts'

/** No plan meets a budget of a byte: what comes out recomputes all that can be and takes as few rows at a time as the config lets it. */
export const leastBytes = (plan: Plan): number | null => {
  const { config, base, pretrained, data, device } = plan
  const made = chosenFor({
    ...{ config, base, pretrained, data, machine: machineOf(device), budget: 1 },
    clock: () => 0,
  })
  return E.isRight(made) ? made.right.totalBytes : null
}

/** Rounded up to what a person writes, which then still fits. */
const upwards = (bytes: number): string => `${Math.ceil(bytes / 1e7) / 100}GB`

/** What to do where memory is not enough. */
export const leastHint = (plan: Plan): string => {
  const least = leastBytes(plan)
  return least === null || least >= plan.totalBytes
    ? `this config takes no less than ${size(plan.totalBytes)}; tunec memory CONFIG --budget shows what would make it smaller`
    : `the smallest budget that this config fits is compiler.memory_budget: ${upwards(least)}`
}

/** What a plan allocates is more than its GPU has free; null: it is not, or nobody asked. */
export const tooSmall = (plan: Plan): Issue | null => {
  const { device, totalBytes } = plan
  if (device === null || device.freeBytes === null) return null
  // What is free was asked within a context.
  const needed = totalBytes - device.calibration.contextBytes
  return needed <= device.freeBytes
    ? null
    : issue(
        `the GPU is too small: the plan takes ${size(needed)} beside the context, and ${device.name} has ${size(device.freeBytes)} free`,
        { hint: `${leastHint(plan)}; nvidia-smi lists the processes that hold memory` },
      )
}
