/** Whether a config asks for the quantized model that its base is. */
import * as E from 'fp-ts/lib/Either.js'
import type { Config } from '../config/schema/config.ts'
import { issue, type Issue } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { Packed } from '../models/packed.ts'

const original = 'or name the folder of the original 16-bit model'

/** What a config says of such a base. */
const wordsFor = (p: Packed): string =>
  p.bits === 4
    ? `bits: 4, bnb_4bit_use_double_quant: ${p.double}`
    : `bits: 8${p.threshold === 6 ? '' : `, llm_int8_threshold: ${p.threshold}`}`

const otherBits = (c: Config, p: Packed): Issue =>
  issue(
    `the base model is quantized to ${p.bits} bits already, and the config does not ask for that`,
    {
      path: 'quantization',
      expected: wordsFor(p),
      hint: `write \`quantization: {${wordsFor(p)}}\`${c.trainer.type === 'none' ? '' : ' with an adapter'}, ${original}`,
    },
  )

const differs = (path: string, what: string, to: boolean | number): Issue =>
  issue(what, { path, expected: String(to), hint: `write ${to}, ${original}` })

/** Left: a config that asks for another model than the quantized one that its base is. */
export const agreeing = (c: Config, { packed: p }: Base): E.Either<Issue, void> => {
  const { adapter, quantization: q } = c
  if (p === null) return E.right(undefined)
  if (q === null || q.bits !== p.bits) return E.left(otherBits(c, p))
  if (p.bits === 4 && q.bnb_4bit_use_double_quant !== p.double)
    return E.left(
      differs(
        'quantization.bnb_4bit_use_double_quant',
        `the scales of the quantized base model are ${p.double ? '' : 'not '}quantized themselves`,
        p.double,
      ),
    )
  if (p.bits === 8 && q.llm_int8_threshold !== p.threshold)
    return E.left(
      differs(
        'quantization.llm_int8_threshold',
        `the quantized base model says llm_int8_threshold ${p.threshold}`,
        p.threshold,
      ),
    )
  return adapter?.postprocessor.merge_adapter_into_base_model === true
    ? E.left(
        issue('an adapter cannot be merged into a base model that is quantized already', {
          path: 'adapter.postprocessor.merge_adapter_into_base_model',
          expected: 'false',
          hint: `leave it out, ${original}`,
        }),
      )
    : E.right(undefined)
}
