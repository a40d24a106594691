/** Keys of the adapter that another key puts out of use. */
import type { Idle } from './idle-training.ts'
import { leavesBelow } from './schema/codec.ts'
import { adapter } from './schema/adapter.ts'

/** What a pretrained adapter says itself. */
const own = leavesBelow('adapter', adapter).filter(
  (key) => !/\.(type|pretrained_adapter_weights|loraplus_lr_ratio)$|\.postprocessor\./.test(key),
)

export const idleAdapter: ReadonlyArray<Idle> = [
  ...own.map((key): Idle => [
    key,
    (c) => (c.adapter?.pretrained_adapter_weights ?? null) !== null,
    'the settings of pretrained_adapter_weights win, as in Ludwig',
  ]),
  [
    'adapter.layers_pattern',
    (c) => c.adapter !== null && c.adapter.layers_to_transform === null,
    'layers_to_transform names no layers',
  ],
]
