/** Keys of `trainer` that only preference training has. Null: its default, or that the type has no such thing. */
import type * as t from 'io-ts'

import { columnName } from '../template.ts'
import { nullable, numberThat, oneOf, section, text, withDefault } from './codec.ts'

const above0 = numberThat('a number greater than 0', (n) => n > 0)

export const preferenceKeys = {
  /** Of dpo and kto how close to the reference the model is held, of orpo the weight of the odds ratio; 0.1. */
  beta: withDefault(nullable(above0), null),
  /** Of dpo; sigmoid. */
  loss_type: withDefault(
    nullable(oneOf('sigmoid', 'robust', 'hinge', 'ipo', 'sigmoid_norm')),
    null,
  ),
  /** Of dpo: the share of pairs that are taken to be the wrong way round; 0. */
  label_smoothing: withDefault(
    nullable(numberThat('a number in [0, 0.5)', (n) => n >= 0 && n < 0.5)),
    null,
  ),
  /** Of dpo and orpo: the column of the worse answers; rejected. */
  rejected_column: withDefault(nullable(text), null),
  /** Of kto: the column that says whether an answer is good; label. */
  label_column: withDefault(nullable(text), null),
  /** Of kto: weights of the losses of good and of bad answers; 1. */
  desirable_weight: withDefault(nullable(above0), null),
  undesirable_weight: withDefault(nullable(above0), null),
}

const open = section(preferenceKeys)
type Keys = t.TypeOf<typeof open>
export type PreferenceKey = keyof Keys

/** The types that have a key. */
export const typesOfKey: { readonly [K in PreferenceKey]: ReadonlyArray<string> } = {
  beta: ['dpo', 'kto', 'orpo'],
  loss_type: ['dpo'],
  label_smoothing: ['dpo'],
  rejected_column: ['dpo', 'orpo'],
  label_column: ['kto'],
  desirable_weight: ['kto'],
  undesirable_weight: ['kto'],
}

/** Whether a trainer learns preferences. */
export const prefers = (type: string): boolean => typesOfKey.beta.includes(type)

const defaults = {
  beta: 0.1,
  loss_type: 'sigmoid',
  label_smoothing: 0,
  rejected_column: 'rejected',
  label_column: 'label',
  desirable_weight: 1,
  undesirable_weight: 1,
} as const

const columns: ReadonlyArray<string> = ['rejected_column', 'label_column']

/** What a type has and the file does not say. */
export const withPreference = <T extends Keys & { readonly type: string }>(trainer: T): T =>
  Object.entries(typesOfKey).reduce((so, [key, types]) => {
    const said = so[key as PreferenceKey]
    const value = said ?? (types.includes(so.type) ? defaults[key as PreferenceKey] : null)
    const named = columns.includes(key) && typeof value === 'string' ? columnName(value) : value
    return { ...so, [key]: named }
  }, trainer)
