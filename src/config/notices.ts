/** What is accepted but worth saying before a run: surprising defaults, keys without effect. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Given } from './checks/check.ts'
import { pathOf } from './checks/check.ts'
import { resolveBatch } from './batch.ts'
import { idleAdapter } from './idle-adapter.ts'
import { idleLabels } from './idle-labels.ts'
import { idleQuantization } from './idle-quantization.ts'
import { idleTraining, type Idle } from './idle-training.ts'
import type { Config } from './schema/config.ts'
import { leavesBelow } from './schema/codec.ts'
import { trainer } from './schema/trainer.ts'
import { readTemplate } from './template.ts'
import type { Path } from './yaml/node.ts'

interface Rule {
  readonly path: string
  readonly when: (config: Config, given: Given) => boolean
  readonly say: (config: Config) => string
}

const inputColumn = 'input_features[0].column'

/** A template shows the columns it names; the input's own is one of them by its name or as `{__sample__}`. */
const hidden = ({ prompt, input_features: [input] }: Config): boolean =>
  prompt.template !== null &&
  pipe(
    readTemplate(prompt.template),
    E.exists((parts) =>
      parts.every((p) => !('field' in p) || !['__sample__', input.column].includes(p.field)),
    ),
  )

const steersNothing = ({ input_features: [{ column }] }: Config, key: string): string =>
  `the input's \`${key}\` steers nothing: the template names the columns it shows, and \`${column}\` is none of them`

const trains = ({ type }: Config['trainer']): boolean => type !== 'none'

const surprises: ReadonlyArray<Rule> = [
  {
    path: 'input_features[0].name',
    when: (c, given) => hidden(c) && !given(inputColumn),
    say: (c) => steersNothing(c, 'name'),
  },
  {
    path: inputColumn,
    when: (c, given) => hidden(c) && given(inputColumn),
    say: (c) => steersNothing(c, 'column'),
  },
  {
    path: 'input_features[0].name',
    when: ({ input_features: [i] }, given) => given(inputColumn) && i.name !== i.column,
    say: ({ input_features: [{ name, column }] }) =>
      `the input's name \`${name}\` is a name alone: the column \`${column}\` is what is read`,
  },
  {
    path: 'trainer.type',
    when: ({ trainer }, given) => trainer.type === 'none' && !given('trainer.type'),
    say: () =>
      'without a trainer nothing is trained, as in Ludwig: `tunec predict` and `tunec evaluate` ask the model as it is',
  },
  {
    path: 'trainer.learning_rate',
    when: ({ trainer }, given) => trains(trainer) && !given('trainer.learning_rate'),
    say: () => "learning_rate is Ludwig's default 0.001, which is high for most models",
  },
  {
    path: 'trainer.epochs',
    when: ({ trainer }, given) =>
      trains(trainer) && !given('trainer.epochs') && trainer.train_steps === null,
    say: () => "epochs is Ludwig's default 100; 3 is usual for fine-tuning",
  },
  {
    path: 'trainer.train_steps',
    when: ({ trainer }, given) => given('trainer.epochs') && trainer.train_steps !== null,
    say: ({ trainer }) =>
      `train_steps ${trainer.train_steps} wins over epochs ${trainer.epochs}, as in Ludwig`,
  },
  {
    path: 'trainer.learning_rate_scheduler.decay',
    when: ({ trainer: { learning_rate_scheduler: s } }) => s.decay === 'cosine' && s.t_0 === null,
    say: () =>
      'cosine decay restarts at every evaluation, as in Ludwig; set t_0 to the number of steps for one half-cosine',
  },
  {
    path: 'trainer.learning_rate_scheduler.warmup_evaluations',
    when: ({ trainer: { learning_rate_scheduler: s } }) =>
      s.warmup_evaluations > 0 && s.warmup_fraction > 0,
    say: () => 'of warmup_evaluations and warmup_fraction, the longer warm-up wins',
  },
  {
    path: 'trainer.learning_rate_scheduler.reduce_on_plateau',
    when: ({ trainer: { learning_rate_scheduler: s } }) => s.reduce_on_plateau > 0,
    say: ({ trainer: { learning_rate_scheduler: s } }) =>
      `reduce_on_plateau: ${s.reduce_on_plateau_patience + 1} evaluations without a better ${s.reduce_eval_metric} multiply the learning rate by ${s.reduce_on_plateau_rate}, ${s.reduce_on_plateau} times at most`,
  },
  {
    path: 'trainer.effective_batch_size',
    when: ({ trainer }) =>
      trainer.effective_batch_size !== 'auto' &&
      resolveBatch(trainer).effective_batch_size !== trainer.effective_batch_size,
    say: ({ trainer }) =>
      `batch_size ${trainer.batch_size} and gradient_accumulation_steps ${trainer.gradient_accumulation_steps} ` +
      `win over effective_batch_size ${trainer.effective_batch_size}, as in Ludwig: ` +
      `a step takes ${resolveBatch(trainer).effective_batch_size} samples`,
  },
  {
    path: 'adapter.postprocessor.merge_adapter_into_base_model',
    when: ({ adapter, quantization }) =>
      adapter?.postprocessor.merge_adapter_into_base_model === true && quantization !== null,
    say: ({ quantization }) =>
      quantization?.bits === 8
        ? 'the adapter is merged into the 16-bit base, not into the 8-bit weights'
        : 'the adapter is merged into the 16-bit base, not into the 4-bit weights (Ludwig refuses this)',
  },
]

/** Keys that the file holds and another key puts out of use. */
const idle: ReadonlyArray<Idle> = [
  ...idleAdapter,
  ...idleQuantization,
  ...idleLabels,
  ...leavesBelow('trainer', trainer)
    .filter((key) => key !== 'trainer.type')
    .map((key): Idle => [key, (c) => !trains(c.trainer), 'nothing is trained']),
  ['model_parameters.neftune_noise_alpha', ({ trainer }) => !trains(trainer), 'nothing is trained'],
  [
    'compiler.recompute',
    ({ trainer }) => !trains(trainer),
    'nothing is trained, so there is no backward',
  ],
  ...idleTraining,
  ...['temperature', 'top_k', 'top_p'].map(
    (key) =>
      [
        `generation.${key}`,
        ({ generation }: Config) => !generation.do_sample,
        'do_sample is false',
      ] as const,
  ),
  ...['temperature', 'top_p'].map(
    (key) =>
      [
        `generation.${key}`,
        ({ generation }: Config) => generation.do_sample && generation.top_k === 1,
        'top_k is 1, so there is one candidate',
      ] as const,
  ),
  ...['length_penalty', 'early_stopping'].map(
    (key) =>
      [
        `generation.${key}`,
        ({ generation }: Config) => generation.num_beams === 1,
        'num_beams is 1, so no answers are weighed against each other',
      ] as const,
  ),
  [
    'trainer.eval_batch_size',
    ({ trainer }) => !trainer.skip_all_evaluation && trainer.eval_steps === null,
    'eval_steps is null, so every row is looked at',
  ],
  [
    'trainer.eval_batch_size',
    ({ trainer: { skip_all_evaluation: skipped, eval_steps: steps, ...t } }) =>
      !skipped &&
      steps !== null &&
      typeof t.eval_batch_size === 'number' &&
      typeof t.batch_size === 'number' &&
      t.eval_batch_size <= t.batch_size,
    'batch_size is as large, and an evaluation takes no smaller batches',
  ],
  ...[
    'early_stop',
    'eval_steps',
    'eval_batch_size',
    'evaluate_training_set',
    'validation_metric',
  ].map(
    (key) =>
      [
        `trainer.${key}`,
        ({ trainer }: Config) => trainer.skip_all_evaluation,
        'skip_all_evaluation is true',
      ] as const,
  ),
  [
    'trainer.max_batch_size',
    ({ trainer }) => trainer.batch_size !== 'auto',
    'batch_size is not auto',
  ],
  [
    'compiler.na_as_text',
    ({ compiler: { dataset } }) => dataset !== null && /\.(json|jsonl|ndjson)$/i.test(dataset),
    'JSON has a null of its own, and "NA" is text there',
  ],
]

/** Each with the key it is about; a key without effect is said once. */
export const remarks = (
  config: Config,
  given: Given,
): ReadonlyArray<{ readonly message: string; readonly path: Path }> => [
  ...surprises
    .filter((rule) => rule.when(config, given))
    .map(({ path, say }) => ({ message: say(config), path: pathOf(path) })),
  ...idle
    .filter(([path, isIdle]) => given(path) && isIdle(config))
    .filter(([path], i, all) => all.findIndex((other) => other[0] === path) === i)
    .map(([path, , why]) => ({
      message: `\`${path}\` has no effect: ${why}`,
      path: pathOf(path),
    })),
]
