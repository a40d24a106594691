/** `compiler`: what Ludwig has no key for. */
import * as t from 'io-ts'

import { rowLength, rows } from '../bounds.ts'
import { parseBytes } from '../bytes.ts'
import {
  bounded,
  nullable,
  oneOf,
  orAuto,
  positive,
  section,
  text,
  truth,
  withDefault,
} from './codec.ts'

const bytes = new t.Type<number, unknown, unknown>(
  'an amount of memory such as 16GB, 11.5GiB or a whole number of bytes',
  positive.is,
  (u, c) => {
    const parsed = typeof u === 'string' ? parseBytes(u) : u
    return positive.is(parsed) ? t.success(parsed) : t.failure(u, c)
  },
  t.identity,
)

export const compiler = section({
  /** Path of the dataset, relative to the config file. */
  dataset: withDefault(nullable(text), null),
  /** `NA`, `null`, `None` and the like in CSV cells are text; else they are missing cells, as to Ludwig. */
  na_as_text: withDefault(truth, false),
  /** Bytes that a training step may take; auto: what is free on the GPU; null: nothing is said, on a GPU as auto. */
  memory_budget: withDefault(nullable(orAuto(bytes)), null),
  /** float8: as bfloat16, and products with frozen linear weights in 8-bit floats. */
  compute_dtype: withDefault(oneOf('auto', 'float32', 'bfloat16', 'float16', 'float8'), 'auto'),
  backend: withDefault(oneOf('auto', 'cuda', 'onnx', 'tfjs', 'reference'), 'auto'),
  /** auto: follows `trainer.enable_gradient_checkpointing` and `memory_budget`. */
  recompute: withDefault(oneOf('auto', 'none', 'layers', 'budget'), 'auto'),
  /** Rows of tokens in one micro-step. */
  micro_batch_rows: withDefault(orAuto(bounded(rows)), 'auto'),
  /** Tokens of one row. */
  row_length: withDefault(orAuto(bounded(rowLength)), 'auto'),
  /** Ludwig begins the target with a second BOS; true does so too. */
  target_bos: withDefault(truth, false),
})
