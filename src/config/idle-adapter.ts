/** Keys of the adapter that another key puts out of use. */
import type { Idle } from './idle-training.ts'
import { leavesBelow } from './schema/codec.ts'
import { adapter } from './schema/adapter.ts'

/** What a pretrained adapter says itself. */
const own = leavesBelow('adapter', adapter).filter(
  (key) => !/\.(type|pretrained_adapter_weights|loraplus_lr_ratio)$|\.postprocessor\./.test(key),
)

const VECTORS =
  /\.(type|target_modules|feedforward_modules|modules_to_save|pretrained_adapter_weights)$|\.postprocessor\./

/** What vectors have no use for. */
const lowRank = leavesBelow('adapter', adapter).filter((key) => !VECTORS.test(key))

export const idleAdapter: ReadonlyArray<Idle> = [
  ...own.map((key): Idle => [
    key,
    (c) => (c.adapter?.pretrained_adapter_weights ?? null) !== null,
    'the settings of pretrained_adapter_weights win, as in Ludwig',
  ]),
  ...lowRank.map((key): Idle => [
    key,
    ({ adapter: a }) => a?.type === 'ia3' && a.pretrained_adapter_weights === null,
    'Ludwig has it with `type: lora` and not with `type: ia3`',
  ]),
  [
    'adapter.feedforward_modules',
    ({ adapter: a }) => a?.type === 'lora' && a.pretrained_adapter_weights === null,
    'Ludwig has it with `type: ia3` and not with `type: lora`',
  ],
  [
    'adapter.layers_pattern',
    (c) => c.adapter !== null && c.adapter.layers_to_transform === null,
    'layers_to_transform names no layers',
  ],
]
