/** Rotary positions as a config.json describes them, read as transformers 5 reads its two generations of keys. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Rope } from '../../ir/algebra.ts'
import { issue, type Issue } from '../issue.ts'

export type Json = Readonly<Record<string, unknown>>

export const isJson = (v: unknown): v is Json =>
  typeof v === 'object' && v !== null && !Array.isArray(v)

const isFilled = (v: unknown): v is Json => isJson(v) && Object.keys(v).length > 0

/** The dictionary that counts: a filled `rope_scaling` wins over `rope_parameters`, nothing of the other is taken. */
export const ropeDictionary = (config: Json): { readonly at: string; readonly values: Json } =>
  isFilled(config['rope_scaling'])
    ? { at: 'rope_scaling', values: config['rope_scaling'] }
    : {
        at: 'rope_parameters',
        values: isJson(config['rope_parameters']) ? config['rope_parameters'] : {},
      }

const THETA = 1e4

/** The base of the wavelengths: the dictionary's, else the top level's. */
export const thetaOf = (config: Json): unknown => {
  const { values } = ropeDictionary(config)
  if ('rope_theta' in values) return values['rope_theta']
  return 'rope_theta' in config ? config['rope_theta'] : THETA
}

/** The length that Llama-3 scaling starts from: one at the top level wins, silence means the whole context. */
export const originalContextOf = (config: Json, context: number): unknown =>
  config['original_max_position_embeddings'] ??
  ropeDictionary(config).values['original_max_position_embeddings'] ??
  context

const kindOf = (values: Json): unknown =>
  'rope_type' in values ? values['rope_type'] : 'type' in values ? values['type'] : 'default'

/** Keys that mean nothing without a type. */
const scaling = ['factor', 'low_freq_factor', 'high_freq_factor', 'attention_factor']

type Read = E.Either<Issue, number>

const wrong = (message: string, path: string, expected: string): E.Either<Issue, never> =>
  E.left(issue(message, { path, expected }))

const positive = (what: string, value: unknown, path: string): Read =>
  typeof value === 'number' && Number.isFinite(value) && value > 0
    ? E.right(value)
    : value === undefined
      ? wrong(`${what} is missing`, path, 'a number above 0')
      : wrong(`${what} is ${JSON.stringify(value)}`, path, 'a number above 0')

/** What no Llama, Mistral or Qwen2 of transformers computes either, or computes differently in versions 4 and 5. */
const refusal = (config: Json): E.Either<Issue, void> => {
  const { at, values } = ropeDictionary(config)
  for (const key of ['rope_scaling', 'rope_parameters'])
    if (config[key] !== undefined && config[key] !== null && !isJson(config[key]))
      return wrong(`config.json: ${key} has the wrong type`, key, 'an object or null')
  const nested = Object.entries(values).find(([, v]) => isJson(v))
  if (nested !== undefined)
    return wrong(
      `config.json gives positions per kind of layer (${at}.${nested[0]})`,
      at,
      'one description for all layers',
    )
  const part = values['partial_rotary_factor'] ?? config['partial_rotary_factor'] ?? 1
  if (part !== 1)
    return wrong(
      `config.json rotates a part of each head (partial_rotary_factor ${JSON.stringify(part)})`,
      'partial_rotary_factor',
      '1, or no such key',
    )
  if (!('rope_type' in values) && !('type' in values) && scaling.some((k) => k in values))
    return wrong(
      `RoPE scaling without a type: transformers 5 ignores it, transformers 4 fails`,
      at,
      '"rope_type": "linear" or "llama3"; or no scaling',
    )
  return E.right(undefined)
}

const plain = (dim: number, theta: number): Rope => ({
  dim,
  theta,
  factor: 1,
  lowFreqFactor: 0,
  highFreqFactor: 0,
  originalContext: 0,
})

const llama3 = (config: Json, at: string, base: Rope, context: number): E.Either<Issue, Rope> => {
  const { values } = ropeDictionary(config)
  const need = (key: string): Read =>
    positive(`the ${key} of RoPE scaling "llama3"`, values[key], `${at}.${key}`)
  return pipe(
    E.Do,
    E.bind('factor', () => need('factor')),
    E.bind('lowFreqFactor', () => need('low_freq_factor')),
    E.bind('highFreqFactor', () => need('high_freq_factor')),
    E.filterOrElse(
      (r) => r.highFreqFactor > r.lowFreqFactor,
      (r) =>
        issue(
          `the high_freq_factor ${r.highFreqFactor} of RoPE scaling is not above its low_freq_factor ${r.lowFreqFactor}`,
          { path: `${at}.high_freq_factor`, expected: 'a larger number' },
        ),
    ),
    E.bind('originalContext', () =>
      positive(
        'the original_max_position_embeddings of RoPE scaling "llama3"',
        originalContextOf(config, context),
        `${at}.original_max_position_embeddings`,
      ),
    ),
    E.map((r) => ({ ...base, ...r })),
  )
}

/** Left: a scaling that is not supported, lacks numbers, or whose type is not said. */
export const readRope = (config: Json, headDim: number, context: number): E.Either<Issue, Rope> => {
  const { at, values } = ropeDictionary(config)
  const kind = kindOf(values)
  return pipe(
    refusal(config),
    E.chain(() => positive('rope_theta', thetaOf(config), 'rope_theta')),
    E.map((theta) => plain(headDim, theta)),
    E.chain((base) => {
      if (kind === 'default') return E.right(base)
      if (kind === 'linear')
        return pipe(
          positive('the factor of RoPE scaling "linear"', values['factor'], `${at}.factor`),
          E.map((factor) => ({ ...base, factor })),
        )
      return kind === 'llama3'
        ? llama3(config, at, base, context)
        : wrong(
            `RoPE scaling ${JSON.stringify(kind)} is not supported`,
            at,
            'default, linear or llama3',
          )
    }),
  )
}
