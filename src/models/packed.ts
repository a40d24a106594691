/** Whether a model's folder holds weights that bitsandbytes has quantized already, and how. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import { stateName } from '../tensors/bnb.ts'
import { namesIn, peeked } from './peek.ts'
import { isJson, type Json } from './rope.ts'

/** A base in 4 bits. */
export interface Packed {
  /** The scales are quantized too. */
  readonly double: boolean
  /** Linear weights that its files hold unquantized all the same. */
  readonly plain: ReadonlyArray<string>
}

const KEY = 'quantization_config'

/** What config.json says: null, or whether scales are quantized too. Left: another way of quantizing. */
export const packingOf = (config: Json): E.Either<Issue, { readonly double: boolean } | null> => {
  const said = config[KEY]
  if (said === undefined || said === null) return E.right(null)
  const bnb =
    isJson(said) && (said['quant_method'] ?? 'bitsandbytes') === 'bitsandbytes' ? said : {}
  return bnb['load_in_4bit'] === true && bnb['bnb_4bit_quant_type'] === 'nf4'
    ? E.right({ double: bnb['bnb_4bit_use_double_quant'] === true })
    : E.left(
        issue(`the base model is quantized already (${KEY}), in another way than this one reads`, {
          path: KEY,
          expected:
            'weights of 16 bits or more, or bitsandbytes with load_in_4bit and bnb_4bit_quant_type nf4',
          hint: 'name the folder of the original 16-bit model; it is quantized while it is read',
        }),
      )
}

const linear = /_proj\.weight$/

export const packedIn = (folder: string, { double }: { readonly double: boolean }): Packed => {
  const names = peeked(() => namesIn(folder), new Set<string>())
  return {
    double,
    plain: [...names].filter((n) => linear.test(n) && !names.has(stateName(n))).toSorted(),
  }
}
