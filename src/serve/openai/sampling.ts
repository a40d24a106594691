/** The fields that chat and completions share: how tokens are chosen, how many, and how the answer comes. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Sampling } from '../../generate/index.ts'
import type { Served } from '../model.ts'
import type { Adjust } from '../work.ts'
import { invalid, noModel, type ApiError } from './errors.ts'
import { decimal, flag, integer, missing, record, text, texts, type Fields } from './fields.ts'

export interface Asked {
  readonly sampling: Sampling
  readonly adjust: Adjust
  readonly n: number
  readonly stop: ReadonlyArray<string>
  readonly stream: boolean
  /** A last chunk of a stream tells tokens. */
  readonly usage: boolean
  /** The likeliest that are told of each token; null: no probabilities are. */
  readonly scored: number | null
}

/** Who sends `user` and `metadata` tells whose request it is, which changes no answer there either. */
export const commonFields: ReadonlyArray<string> = [
  'model', 'temperature', 'top_p', 'n', 'stop', 'seed', 'stream', 'stream_options',
  'presence_penalty', 'frequency_penalty', 'logit_bias', 'user', 'metadata',
] // prettier-ignore

const MOST_CHOICES = 128
const MOST_STOPS = 4

const biasOf = (fields: Fields, vocab: number): E.Either<ApiError, ReadonlyMap<number, number>> =>
  pipe(
    record(fields, 'logit_bias'),
    E.chain((given) => {
      const bias = new Map<number, number>()
      for (const [key, value] of Object.entries(given ?? {})) {
        const id = Number(key)
        if (!/^\d+$/.test(key) || id >= vocab)
          return E.left(
            invalid(
              `Invalid key in 'logit_bias': ${key}. You should only be submitting non-negative integers below ${vocab}.`,
              'logit_bias',
            ),
          )
        const read = decimal(-100, 100)({ [key]: value }, key)
        if (E.isLeft(read)) return E.left({ ...read.left, param: 'logit_bias' })
        bias.set(id, read.right ?? 0)
      }
      return E.right(bias)
    }),
  )

const optionsOf = (fields: Fields): E.Either<ApiError, boolean> =>
  pipe(
    record(fields, 'stream_options'),
    E.filterOrElse(
      (given) => given === null || fields['stream'] === true,
      () =>
        invalid(
          "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
          'stream_options',
        ),
    ),
    E.chain((given) => flag(given ?? {}, 'include_usage')),
    E.map((wanted) => wanted ?? false),
  )

/** A seed as one of the 2³² there are. */
const wrapped = (seed: number): number => ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32

/** The model is the one that is served. */
export const modelOf = (m: Served, fields: Fields): E.Either<ApiError, void> =>
  pipe(
    text(fields, 'model'),
    E.chain((name) => {
      if (name === null) return E.left(missing('model'))
      return name === m.name ? E.right(undefined) : E.left(noModel(name))
    }),
  )

/** What a request says, completed by the config's `generation`. */
export const askedOf = (
  m: Served,
  fields: Fields,
  /** The two APIs ask for probabilities in different ways. */
  scoredOf: (fields: Fields) => E.Either<ApiError, number | null>,
): E.Either<ApiError, Asked> =>
  pipe(
    E.Do,
    E.chainFirst(() => modelOf(m, fields)),
    E.bind('temperature', () => decimal(0, 2)(fields, 'temperature')),
    E.bind('topP', () => decimal(0, 1)(fields, 'top_p')),
    E.bind('n', () => integer(1, MOST_CHOICES)(fields, 'n')),
    E.bind('stop', () => texts(MOST_STOPS)(fields, 'stop')),
    E.bind('seed', () => integer(-(2 ** 53), 2 ** 53)(fields, 'seed')),
    E.bind('stream', () => flag(fields, 'stream')),
    E.bind('usage', () => optionsOf(fields)),
    E.bind('presence', () => decimal(-2, 2)(fields, 'presence_penalty')),
    E.bind('frequency', () => decimal(-2, 2)(fields, 'frequency_penalty')),
    E.bind('scored', () => scoredOf(fields)),
    E.bind('bias', () => biasOf(fields, m.options.vocab)),
    E.map(
      ({ temperature, topP, n, stop, seed, stream, usage, presence, frequency, bias, scored }) => {
        const own = m.options.sampling
        return {
          sampling: {
            temperature: temperature ?? own.temperature,
            topK: own.topK,
            topP: topP ?? own.topP,
            seed: seed === null ? m.seed() : wrapped(seed),
          },
          adjust: { bias, presence: presence ?? 0, frequency: frequency ?? 0 },
          n: n ?? 1,
          stop: (stop ?? m.options.stops?.strings ?? []).filter((s) => s !== ''),
          stream: stream ?? false,
          usage,
          scored,
        }
      },
    ),
  )
