/** Checks of preference training: which keys go with which type, and what columns may be. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'

import { prefers, typesOfKey } from '../schema/preference.ts'
import type { Config } from '../schema/config.ts'
import { columnName, readTemplate } from '../template.ts'
import { problem, when, type Check } from './check.ts'

const typed: Check = {
  reads: ['trainer.type', ...Object.keys(typesOfKey).map((key) => `trainer.${key}`)],
  find: ({ trainer }, given) =>
    Object.entries(typesOfKey).flatMap(([key, types]) =>
      when(given(`trainer.${key}`) && !types.includes(trainer.type), () =>
        problem(
          `trainer.${key}`,
          `${key} is used only with \`type: ${types.join('`, `')}\``,
          `leave it out: \`type: ${trainer.type}\` has no such thing`,
        ),
      ),
    ),
}

const SMOOTHED: ReadonlyArray<string> = ['sigmoid', 'robust', 'sigmoid_norm']

const smoothing: Check = {
  reads: ['trainer.loss_type', 'trainer.label_smoothing'],
  find: ({ trainer: { loss_type: loss, label_smoothing: share } }) =>
    when(share !== null && share > 0 && loss !== null && !SMOOTHED.includes(loss), () =>
      problem(
        'trainer.label_smoothing',
        `the loss ${loss} has no label smoothing`,
        'leave it out, or write `loss_type: sigmoid`',
      ),
    ),
}

/** The columns beside the prompt and the answer that preference training reads. */
const others = ({ trainer: t }: Config): ReadonlyArray<readonly [key: string, column: string]> =>
  (['rejected_column', 'label_column'] as const).flatMap((key) => {
    const column = t[key]
    return column === null ? [] : [[key, column] as const]
  })

const columns: Check = {
  reads: ['trainer.rejected_column', 'trainer.label_column', 'output_features'],
  find: (config) =>
    others(config).flatMap(([key, column]) =>
      when(column === config.output_features[0].column, () =>
        problem(
          `trainer.${key}`,
          `${key} is ${JSON.stringify(column)}, which is the output's column`,
          'name the column that holds it in the dataset',
        ),
      ),
    ),
}

const shown: Check = {
  reads: ['prompt', 'trainer.rejected_column', 'trainer.label_column'],
  find: (config) =>
    pipe(
      readTemplate(config.prompt.template ?? ''),
      E.match(
        () => [],
        (parts) =>
          others(config).flatMap(([key, column]) =>
            when(
              parts.some((p) => 'field' in p && columnName(p.field) === column),
              () =>
                problem(
                  'prompt.template',
                  `the template shows \`{${column}}\`, which is what \`trainer.${key}\` names`,
                  'remove it: the prompt is what the model answers',
                ),
            ),
          ),
      ),
    ),
}

const texts: Check = {
  reads: ['model_type', 'trainer.type', 'output_features'],
  find: ({ model_type: model, trainer: { type }, output_features: outputs }) =>
    when(
      prefers(type) &&
        (model !== 'llm' || outputs.length > 1 || outputs.some((f) => f.type !== 'text')),
      () =>
        problem(
          'trainer.type',
          `${type} compares answers that a language model writes: \`model_type: llm\` with one text output`,
          'write `type: finetune`',
        ),
    ),
}

export const preferenceChecks: ReadonlyArray<Check> = [texts, typed, smoothing, columns, shown]
