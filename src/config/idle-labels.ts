/** Keys that mean nothing where labels are predicted, or where their encoder is frozen. */
import type { Idle } from './idle-training.ts'
import { leavesBelow } from './schema/codec.ts'
import type { Config } from './schema/config.ts'
import { generation } from './schema/generation.ts'

const predictsLabels = ({ model_type }: Config): boolean => model_type === 'ecd'
const cached = ({ input_features: [{ preprocessing }] }: Config): boolean =>
  preprocessing.cache_encoder_embeddings
const frozenEncoder = ({ model_type, input_features: [{ encoder }] }: Config): boolean =>
  model_type === 'ecd' && encoder?.trainable === false

const extracts = ({ model_type, output_features: [f] }: Config): boolean =>
  model_type === 'llm' && f.type === 'category'

const ofHeads = ['decoder.use_bias', 'loss.type', 'loss.weight', 'loss.class_weights']

export const idleLabels: ReadonlyArray<Idle> = [
  ...[...ofHeads, 'loss.label_smoothing', 'top_k'].map((key): Idle => [
    `output_features[0].${key}`,
    extracts,
    'labels are read out of answers, and no head is trained',
  ]),
  ...[...leavesBelow('generation', generation), 'compiler.target_bos'].map((key): Idle => [
    key,
    predictsLabels,
    'labels are predicted, and nothing is written',
  ]),
  ...[
    'compiler.micro_batch_rows',
    'compiler.row_length',
    'model_parameters.neftune_noise_alpha',
  ].map((key): Idle => [key, cached, 'the encoder is not run while its heads are trained']),
  ...['compiler.recompute', 'trainer.enable_gradient_checkpointing'].map((key): Idle => [
    key,
    frozenEncoder,
    'a frozen encoder has no backward pass',
  ]),
  [
    'output_features[0].top_k',
    ({ output_features: [f] }) => f.type === 'category' && f.top_k === 1,
    'hits at 1 is the accuracy',
  ],
]
