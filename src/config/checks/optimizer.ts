/** Checks of `trainer.optimizer`: keys that belong to its type, and values that go together. */
import { ownDefaults, type OptimizerType } from '../schema/optimizer.ts'
import { problem, when, type Check } from './check.ts'

const types = Object.keys(ownDefaults) as ReadonlyArray<OptimizerType>
/** Every optimizer decays weights, and has a type. */
const keys = [...new Set(types.flatMap((type) => Object.keys(ownDefaults[type])))]

const foreign: Check = {
  reads: ['trainer.optimizer.type'],
  find: ({ trainer: { optimizer: o } }, given) =>
    keys
      .filter((key) => given(`trainer.optimizer.${key}`) && !(key in ownDefaults[o.type]))
      .map((key) => {
        const owner = types.find((type) => key in ownDefaults[type])
        return problem(
          `trainer.optimizer.${key}`,
          `${o.type} has no \`${key}\``,
          `leave it out: Ludwig has it with \`type: ${owner}\` and not with \`type: ${o.type}\``,
        )
      }),
}

const nesterov: Check = {
  reads: ['trainer.optimizer.momentum', 'trainer.optimizer.dampening'],
  find: ({ trainer: { optimizer: o } }) =>
    when(o.type === 'sgd' && o.nesterov === true && (o.momentum === 0 || o.dampening !== 0), () =>
      problem(
        'trainer.optimizer.nesterov',
        'Nesterov momentum needs a momentum and no dampening',
        o.dampening === 0
          ? 'leave it out, or add `momentum: 0.9`'
          : 'leave it out, or leave out `dampening`',
      ),
    ),
}

export const optimizerChecks: ReadonlyArray<Check> = [foreign, nesterov]
