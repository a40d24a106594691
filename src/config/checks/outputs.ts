/** Checks of what a model's outputs are, which `model_type` decides. */
import * as E from 'fp-ts/lib/Either.js'
import type { Config } from '../schema/config.ts'
import { COMBINED } from '../schema/encoder.ts'
import type { OutputFeature } from '../schema/outputs.ts'
import { prefers } from '../schema/preference.ts'
import { problem, when, type Check } from './check.ts'

export const headless = (type: string): string =>
  `\`type: ${type}\` is predicted by a head, which \`model_type: llm\` has not`

/** A file for a language model, but for its `model_type`. */
const isText = (
  type: Config['model_type'],
  encoder: Config['input_features'][0]['encoder'],
  outputs: Config['output_features'],
): boolean => type === 'ecd' && encoder === null && outputs.every((f) => f.type === 'text')

/** Written, read out of what is written, or predicted. */
const isForeign = (f: OutputFeature, type: Config['model_type']): boolean =>
  type === 'ecd' ? f.type === 'text' : f.type === 'binary' || f.type === 'number'

/** A label that is read out of an answer: how, and that nothing is trained for it. */
const extractor: Check = {
  reads: ['model_type', 'trainer.type', 'output_features'],
  find: ({ model_type, trainer, output_features: outputs }) =>
    outputs.flatMap((f, i) => {
      if (f.type !== 'category') return []
      const at = `output_features[${i}]`
      if (model_type === 'ecd')
        return (
          [
            ['decoder.match', f.decoder.match !== null],
            ['decoder.fallback_label', f.decoder.fallback_label !== null],
            ['preprocessing.fallback_label', f.preprocessing.fallback_label !== ''],
            ['preprocessing.vocab', f.preprocessing.vocab.length > 0],
            ['decoder.type', f.decoder.type === 'category_extractor'],
          ] as const
        ).flatMap(([key, is]) =>
          when(is, () =>
            problem(
              `${at}.${key}`,
              `\`${key}\` reads a label out of an answer, and \`model_type: ecd\` writes none`,
              'leave it out',
            ),
          ),
        )
      const broken = Object.entries(f.decoder.match ?? {}).find(
        ([, m]) => m.type === 'regex' && !isPattern(m.value),
      )
      return [
        ...when(trainer.type !== 'none', () =>
          problem(
            `${at}.type`,
            'a label is read out of an answer where nothing is trained, as in Ludwig',
            'write `type: text`, which learns to write the label, or `model_type: ecd` with the model as encoder',
          ),
        ),
        ...when(f.decoder.type === 'classifier', () =>
          problem(`${at}.decoder.type`, headless('category'), 'write `category_extractor`'),
        ),
        ...when(broken !== undefined, () =>
          problem(
            `${at}.decoder.match`,
            `${JSON.stringify(broken![1].value)} is no regular expression`,
            'write it as JavaScript knows them, or with `type: contains`',
          ),
        ),
      ]
    }),
}

const isPattern = (text: string): boolean =>
  E.isRight(
    E.tryCatch(
      () => new RegExp(text, 'i'),
      () => undefined,
    ),
  )

const kinds: Check = {
  reads: ['model_type', 'input_features', 'output_features'],
  find: ({ model_type, input_features: [{ encoder: e }], output_features: outputs }) => [
    ...when(isText(model_type, e, outputs), () =>
      problem(
        'model_type',
        '`model_type: ecd` predicts labels, and this file writes text',
        'write `model_type: llm`',
      ),
    ),
    ...when(model_type === 'llm' && outputs.length > 1, () =>
      problem(
        'output_features',
        `a language model writes one text, and ${outputs.length} output features are given`,
        'leave one of them, or write `model_type: ecd` for several labels',
      ),
    ),
    ...outputs.flatMap((f, i) =>
      when(isForeign(f, model_type) && !isText(model_type, e, outputs), () =>
        problem(
          `output_features[${i}].type`,
          model_type === 'llm'
            ? headless(f.type)
            : '`type: text` is written by a language model, which `model_type: ecd` is not',
          model_type === 'llm'
            ? 'write `type: text`, which learns to write the label, or `model_type: ecd` with the model as encoder'
            : 'write `model_type: llm`, or `type: category`',
        ),
      ),
    ),
  ],
}

const preferences: Check = {
  reads: ['model_type', 'trainer.type'],
  find: ({ model_type, trainer: { type } }) =>
    when(model_type === 'ecd' && type !== 'finetune', () =>
      problem(
        'trainer.type',
        `\`type: ${type}\` is for language models, and \`model_type: ecd\` predicts labels`,
        'leave it out',
      ),
    ),
}

const names: Check = {
  reads: ['output_features'],
  find: ({ output_features: outputs }) =>
    outputs.flatMap((f, i) =>
      when(outputs.findIndex((g) => g.name === f.name) < i, () =>
        problem(
          `output_features[${i}].name`,
          `two output features are named ${JSON.stringify(f.name)}`,
          'name the second one otherwise, and say `column` for what it reads',
        ),
      ),
    ),
}

const encoder: Check = {
  reads: ['model_type', 'input_features', 'output_features', 'adapter', 'quantization'],
  find: (config, given) => {
    const { model_type, input_features, output_features: outputs, adapter } = config
    const [{ encoder: e, preprocessing }] = input_features
    const at = 'input_features[0].encoder'
    if (model_type === 'llm')
      return [
        ...when(e !== null && e.type !== 'passthrough', () =>
          problem(at, 'with `model_type: llm` the base model is all', 'leave the encoder out'),
        ),
        ...['trainable', 'reduce_output'].flatMap((key) =>
          when(e?.type === 'passthrough' && given(`${at}.${key}`), () =>
            problem(`${at}.${key}`, `\`${key}\` belongs to \`model_type: ecd\``, 'leave it out'),
          ),
        ),
        ...when(preprocessing.cache_encoder_embeddings, () =>
          problem(
            'input_features[0].preprocessing.cache_encoder_embeddings',
            'only a frozen encoder of `model_type: ecd` gives vectors to keep',
            'leave it out',
          ),
        ),
      ]
    if (isText(model_type, e, outputs)) return []
    if (e === null || e.type === 'passthrough')
      return [
        problem(
          `${at}.type`,
          'a text input of `model_type: ecd` needs a language model as encoder',
          'write `type: llm`, and set `base_model` to the model',
        ),
      ]
    return [
      ...when(adapter !== null && !e.trainable, () =>
        problem(
          `${at}.trainable`,
          '`trainable: false` contradicts the adapter, which would never learn',
          'leave it out: the adapter is trained and the model beneath it is not',
        ),
      ),
      ...when(preprocessing.cache_encoder_embeddings && e.trainable, () =>
        problem(
          'input_features[0].preprocessing.cache_encoder_embeddings',
          'an encoder that is trained gives other vectors in every step (Ludwig would ignore the key)',
          'leave it out, or write `trainable: false` in the encoder and no adapter',
        ),
      ),
    ]
  },
}

const metricsOf = {
  text: ['loss', 'perplexity', 'next_token_perplexity', 'token_accuracy', 'sequence_accuracy'],
  category: ['loss', 'accuracy', 'accuracy_micro', 'roc_auc', 'hits_at_k'],
  binary: ['loss', 'accuracy', 'roc_auc'],
  number: ['loss', 'mean_squared_error', 'mean_absolute_error', 'root_mean_squared_error', 'r2'],
} as const

/** Of pairs and of labelled answers. */
const preferred = [
  'loss',
  'reward_accuracy',
  'reward_margin',
  'token_accuracy',
  'sequence_accuracy',
] as const

const allowed = ({ trainer, output_features: outputs }: Config): ReadonlyArray<string> | null => {
  if (trainer.validation_field === COMBINED && outputs[0].type !== 'text') return ['loss']
  const of = outputs.find((f) => f.name === trainer.validation_field)
  return of === undefined ? null : prefers(trainer.type) ? preferred : metricsOf[of.type]
}

const validation: Check = {
  reads: [
    'trainer.type',
    'trainer.validation_field',
    'trainer.validation_metric',
    'output_features',
  ],
  find: (config) => {
    const { trainer, output_features: outputs } = config
    const metrics = allowed(config)
    const [first] = outputs
    if (metrics === null)
      return [
        problem(
          'trainer.validation_field',
          `validation_field is ${JSON.stringify(trainer.validation_field)}, which is no output feature`,
          `write ${JSON.stringify(first.name)} or leave it out`,
        ),
      ]
    return when(!metrics.includes(trainer.validation_metric), () =>
      problem(
        'trainer.validation_metric',
        `${trainer.validation_metric} is no metric of ${trainer.validation_field}`,
        metrics.length === 1
          ? 'write `loss`'
          : `write ${metrics.slice(0, -1).join(', ')} or ${metrics.at(-1)}`,
      ),
    )
  },
}

const balance: Check = {
  reads: ['preprocessing', 'output_features'],
  find: ({ preprocessing: p, output_features: outputs }) => {
    const key = p.oversample_minority !== null ? 'oversample_minority' : 'undersample_majority'
    const asked = p.oversample_minority !== null || p.undersample_majority !== null
    return [
      ...when(asked && (outputs.length !== 1 || outputs[0].type !== 'binary'), () =>
        problem(
          `preprocessing.${key}`,
          'rows are balanced for one binary output alone, as in Ludwig',
          'leave it out; for a category, `loss.class_weights` weighs its labels',
        ),
      ),
      ...when(p.oversample_minority !== null && p.undersample_majority !== null, () =>
        problem(
          'preprocessing.undersample_majority',
          'oversample_minority and undersample_majority both say how rows are balanced',
          'keep one of them',
        ),
      ),
    ]
  },
}

const plateau: Check = {
  reads: ['model_type', 'trainer.type', 'trainer.learning_rate_scheduler'],
  find: ({ model_type, trainer: { type, learning_rate_scheduler: s } }) =>
    when(
      (model_type === 'ecd' || prefers(type)) &&
        s.reduce_on_plateau > 0 &&
        s.reduce_eval_metric !== 'loss',
      () =>
        problem(
          'trainer.learning_rate_scheduler.reduce_eval_metric',
          `${s.reduce_eval_metric} is no metric of ${model_type === 'ecd' ? 'labels' : 'preferences'}`,
          'write `loss`',
        ),
    ),
}

export const outputChecks: ReadonlyArray<Check> = [
  kinds,
  extractor,
  preferences,
  names,
  encoder,
  validation,
  balance,
  plateau,
]
