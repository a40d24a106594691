/** Checks of `trainer.optimizer`: keys that belong to its type, and values that go together. */
import { defaultsOf, ownerOf, ownKeys } from '../schema/optimizer.ts'
import { problem, when, type Check } from './check.ts'

const foreign: Check = {
  reads: ['trainer.optimizer.type'],
  find: ({ trainer: { optimizer: o } }, given) =>
    ownKeys
      .filter((key) => given(`trainer.optimizer.${key}`) && !(key in defaultsOf(o.type)))
      .map((key) =>
        problem(
          `trainer.optimizer.${key}`,
          `${o.type} has no \`${key}\``,
          `leave it out: Ludwig has it with \`type: ${ownerOf(key)}\` and not with \`type: ${o.type}\``,
        ),
      ),
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
