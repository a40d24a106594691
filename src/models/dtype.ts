/** The dtype that config.json gives the weights: transformers 5 loads them in it, whatever they are stored in. */
import * as O from 'fp-ts/lib/Option.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Dtype } from '../tensors/dtype.ts'
import { EMBEDDING } from './head.ts'
import { peeked, placeOf } from './peek.ts'
import type { Json } from './rope.ts'

/** In the words of a config.json; F64 weights are read as f32. */
const names: Partial<Readonly<Record<Dtype, string>>> = {
  F64: 'float32',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
}

const keyOf = (config: Json): 'dtype' | 'torch_dtype' =>
  typeof config['dtype'] === 'string' ? 'dtype' : 'torch_dtype'

/** Null where config.json gives none, which means: as stored. */
const given = (config: Json): string | null => {
  const value = config[keyOf(config)]
  return typeof value === 'string' ? value.replace(/^torch\./, '') : null
}

/** A config.json that gives the dtype of the weights beside it; the same object where it does. */
export const withDtype = (config: Json, stored: ReadonlyArray<Dtype>): Json => {
  const [one, ...others] = new Set(stored.flatMap((d) => names[d] ?? []))
  const said = given(config)
  return one === undefined || others.length > 0 || said === null || said === one
    ? config
    : { ...config, [keyOf(config)]: one }
}

export const dtypeRemarks = (config: Json, folder: string): ReadonlyArray<string> => {
  const stored = peeked(
    () =>
      pipe(
        placeOf(folder, EMBEDDING),
        O.chainNullableK((t) => names[t.dtype]),
        O.toNullable,
      ),
    null,
  )
  const said = given(config)
  return stored === null || said === null || said === stored
    ? []
    : [
        `config.json says ${keyOf(config)} ${said}, and the weights are stored as ${stored}: they are used as stored (transformers 5 would round them to ${said})`,
      ]
}
