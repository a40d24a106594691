/** The supported keys of a file as a `Config`: text that is plainly a number is read as one. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

import { describeMisfit, showValue } from './describe.ts'
import type { Problem } from './problem.ts'
import { configCodec, type Config } from './schema/config.ts'
import { showPath, type Path } from './yaml/node.ts'

export interface Decoded {
  /**
   * For further checks even when there are problems: what did not fit has its default or a
   * placeholder. Undefined where nothing sensible can be put in.
   */
  readonly config: Config | undefined
  readonly problems: ReadonlyArray<Problem>
  readonly remarks: ReadonlyArray<Pick<Problem, 'message' | 'path'>>
}

const pathOf = (context: t.Context): Path => context.slice(1).map((c) => c.key)

/** As PyYAML reads it, which is what Ludwig's users write for. */
const numeric = /^[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)(e[-+]?\d+)?$/i

const unquoted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(unquoted)
  if (typeof value !== 'string') return value
  if (/^(yes|on)$/i.test(value)) return true
  if (/^(no|off)$/i.test(value)) return false
  return numeric.test(value) ? Number(value.replaceAll('_', '')) : value
}

/** A copy in which `path` holds `value`; undefined removes the key. */
const put = (node: unknown, path: Path, value: unknown): unknown => {
  const [key, ...rest] = path
  if (key === undefined) return value
  if (Array.isArray(node))
    return node.map((item: unknown, i) => (String(i) === key ? put(item, rest, value) : item))
  const map: Readonly<Record<string, unknown>> = t.UnknownRecord.is(node) ? node : {}
  return { ...map, [key]: put(map[key], rest, value) }
}

/** Stand in for what has no default, so that the remaining checks can run. */
const placeholders: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['model_type', 'llm'],
  ['base_model', 'missing'],
  ['input_features', [{ name: 'input', type: 'text' }]],
  ['output_features', [{ name: 'output', type: 'text' }]],
  ['input_features[0]', { name: 'input', type: 'text' }],
  ['output_features[0]', { name: 'output', type: 'text' }],
  ['input_features[0].name', 'input'],
  ['output_features[0].name', 'output'],
  ['input_features[0].type', 'text'],
  ['output_features[0].type', 'text'],
  ['trainer.type', 'finetune'],
  ['preprocessing.split.column', 'split'],
  ['adapter.type', 'lora'],
  ['model_parameters.rope_scaling.rope_type', 'linear'],
  ['model_parameters.rope_scaling.factor', 2],
])

interface Mended {
  readonly value: unknown
  readonly problems: ReadonlyArray<Problem>
  readonly remarks: Decoded['remarks']
}

const mend = (so: Mended, error: t.ValidationError): Mended => {
  const path = pathOf(error.context)
  const codec = error.context.at(-1)?.type ?? configCodec
  const plain = unquoted(error.value)
  if (plain !== error.value && E.isRight(codec.decode(plain))) {
    const message = `\`${showPath(path)}\` is the text ${showValue(error.value)}; read as ${JSON.stringify(plain)}`
    return { ...so, value: put(so.value, path, plain), remarks: [...so.remarks, { message, path }] }
  }
  return {
    ...so,
    value: put(so.value, path, placeholders.get(showPath(path))),
    problems: [...so.problems, describeMisfit(path, error.value, codec)],
  }
}

export const decodeConfig = (value: unknown): Decoded => {
  const first = configCodec.decode(value)
  if (E.isRight(first)) return { config: first.right, problems: [], remarks: [] }
  const mended = first.left.reduce<Mended>(mend, { value, problems: [], remarks: [] })
  const second = configCodec.decode(mended.value)
  return { ...mended, config: E.isRight(second) ? second.right : undefined }
}
