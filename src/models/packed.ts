/** Whether a model's folder holds weights that bitsandbytes has quantized already, and how. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import { stateName } from '../tensors/bnb.ts'
import { scalesName } from '../tensors/bnb8.ts'
import { namesIn, peeked } from './peek.ts'
import { isJson, type Json } from './rope.ts'

export type Packing =
  | {
      readonly bits: 4
      /** The scales are quantized too. */
      readonly double: boolean
    }
  | {
      readonly bits: 8
      /** Columns with such values are not rounded. */
      readonly threshold: number
    }

/** A base that is quantized, and the linear weights that its files hold unquantized all the same. */
export type Packed = Packing & { readonly plain: ReadonlyArray<string> }

const KEY = 'quantization_config'

/** bitsandbytes' own default. */
const THRESHOLD = 6

/** What the words of bitsandbytes mean; null: nothing that is read here. */
const meaning = (bnb: Json): Packing | null => {
  if (bnb['load_in_4bit'] === true && bnb['bnb_4bit_quant_type'] === 'nf4')
    return { bits: 4, double: bnb['bnb_4bit_use_double_quant'] === true }
  const threshold = bnb['llm_int8_threshold'] ?? THRESHOLD
  return bnb['load_in_8bit'] === true &&
    bnb['llm_int8_has_fp16_weight'] !== true &&
    typeof threshold === 'number'
    ? { bits: 8, threshold }
    : null
}

/** What config.json says, null where nothing. Left: another way of quantizing. */
export const packingOf = (config: Json): E.Either<Issue, Packing | null> => {
  const said = config[KEY]
  if (said === undefined || said === null) return E.right(null)
  const bnb =
    isJson(said) && (said['quant_method'] ?? 'bitsandbytes') === 'bitsandbytes' ? said : {}
  const packing = meaning(bnb)
  return packing !== null
    ? E.right(packing)
    : E.left(
        issue(`the base model is quantized already (${KEY}), in another way than this one reads`, {
          path: KEY,
          expected:
            'weights of 16 bits or more, or bitsandbytes with load_in_8bit, or with load_in_4bit and bnb_4bit_quant_type nf4',
          hint: 'name the folder of the original 16-bit model; it is quantized while it is read',
        }),
      )
}

const linear = /_proj\.weight$/

export const packedIn = (folder: string, packing: Packing): Packed => {
  const mark = packing.bits === 8 ? scalesName : stateName
  const names = peeked(() => namesIn(folder), new Set<string>())
  return {
    ...packing,
    plain: [...names].filter((n) => linear.test(n) && !names.has(mark(n))).toSorted(),
  }
}
