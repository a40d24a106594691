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

const warmup: Check = {
  reads: ['trainer.optimizer.relative_step', 'trainer.optimizer.warmup_init'],
  find: ({ trainer: { optimizer: o } }) =>
    when(o.type === 'adafactor' && o.warmup_init === true && o.relative_step !== true, () =>
      problem(
        'trainer.optimizer.warmup_init',
        'warmup_init needs relative_step',
        'leave it out, or leave out `relative_step`',
      ),
    ),
}

/** Neither has a decay of weights in Ludwig. */
const undecayed: Check = {
  reads: ['trainer.optimizer.type', 'trainer.optimizer.weight_decay'],
  find: ({ trainer: { optimizer: o } }) =>
    when(o.weight_decay > 0 && (o.type === 'adafactor' || o.type === 'muon'), () =>
      problem(
        'trainer.optimizer.weight_decay',
        `${o.type} has no \`weight_decay\``,
        'leave it out',
      ),
    ),
}

export const optimizerChecks: ReadonlyArray<Check> = [foreign, nesterov, warmup, undecayed]
