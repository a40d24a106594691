/** `/v1/completions`: prompts as they stand, continued. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Served } from '../model.ts'
import type { Scored } from '../scores.ts'
import { invalid, type ApiError } from './errors.ts'
import { flag, integer, known, missing, wrongType, type Fields } from './fields.ts'
import { limitOf, replyOf, type Reply, type Wording } from './reply.ts'
import { completionScores } from './logprobs.ts'
import { askedOf, commonFields, type Asked } from './sampling.ts'

const read = new Set([...commonFields, 'prompt', 'max_tokens', 'echo', 'best_of', 'logprobs'])

const neutral = { suffix: ['""'] }

/** The API's own, where a request names none. */
const USUAL = 16

interface Prompt {
  readonly ids: ReadonlyArray<number>
  /** As `echo` shows it. */
  readonly text: string
}

const isIds = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === 'number')

const fromText = (m: Served, text: string): Prompt => ({
  ids: m.tokenizer.encode(text, { addBos: true }),
  text,
})

const promptsOf = (m: Served, fields: Fields): E.Either<ApiError, ReadonlyArray<Prompt>> => {
  const value = fields['prompt'] ?? null
  if (value === null) return E.left(missing('prompt'))
  const many = Array.isArray(value) && !isIds(value) ? value : [value]
  const prompts: Array<Prompt> = []
  for (const one of many as ReadonlyArray<unknown>) {
    if (typeof one === 'string') prompts.push(fromText(m, one))
    else if (isIds(one)) prompts.push({ ids: one, text: m.options.decode(one) })
    else return E.left(wrongType('prompt', 'a string, tokens, or an array of either', one))
  }
  const odd = prompts
    .flatMap((p) => p.ids)
    .find((id) => !(Number.isInteger(id) && id >= 0 && id < m.options.vocab))
  if (odd !== undefined)
    return E.left(
      invalid(
        `Invalid 'prompt': token ${odd} is not below ${m.options.vocab}, the size of the vocabulary.`,
        'prompt',
      ),
    )
  return prompts.length > 0 && prompts.every((p) => p.ids.length > 0)
    ? E.right(prompts)
    : E.left(
        invalid(
          "Invalid 'prompt': it has no token to begin with, and this tokenizer puts none before a text.",
          'prompt',
          'empty_array',
        ),
      )
}

const bestOf = (fields: Fields, n: number): E.Either<ApiError, void> =>
  pipe(
    integer(1, 128)(fields, 'best_of'),
    E.chain((best) =>
      best === null || best === n
        ? E.right(undefined)
        : E.left(
            invalid(
              "Unsupported value: 'best_of' must equal 'n': answers are not ranked by this server.",
              'best_of',
              'unsupported_value',
            ),
          ),
    ),
  )

/** Probabilities of a prompt's own tokens are not made. */
const scoredOf = (fields: Fields): E.Either<ApiError, number | null> =>
  pipe(
    integer(0, 5)(fields, 'logprobs'),
    E.filterOrElse(
      (wanted) => wanted === null || fields['echo'] !== true,
      () =>
        invalid(
          "Unsupported value: 'logprobs' and 'echo' cannot be asked for together.",
          'logprobs',
          'unsupported_value',
        ),
    ),
  )

const wordingOf = (
  m: Served,
  id: string,
  echoes: ReadonlyArray<string> | null,
  { scored }: Asked,
): Wording => {
  const told = new Map<number, number>()
  /** Offsets go on from event to event of a choice. */
  const said = (choice: number, scores: ReadonlyArray<Scored>) => {
    if (scored === null) return null
    const made = completionScores(m, scores, scored, told.get(choice) ?? 0)
    told.set(choice, made.end)
    return made.logprobs
  }
  const common = { id, object: 'text_completion', created: m.seconds(), model: m.name }
  const one = (
    index: number,
    text: string,
    reason: string | null,
    scores: ReadonlyArray<Scored> = [],
  ) => ({
    ...common,
    choices: [
      {
        text,
        index,
        logprobs: scores.length === 0 ? null : said(index, scores),
        finish_reason: reason,
      },
    ],
  })
  return {
    whole: (answers, usage) => ({
      ...common,
      choices: answers.map((a, index) => ({
        text: `${echoes?.[index] ?? ''}${a.text}`,
        index,
        logprobs: said(index, a.scores),
        finish_reason: a.reason,
      })),
      usage,
    }),
    opening: echoes === null ? null : (i) => one(i, echoes[i]!, null),
    part: (i, text, scores) => one(i, text, null, scores),
    closing: (i, { reason }) => one(i, '', reason),
    tally: (usage) => ({ ...common, choices: [], usage }),
  }
}

export const completions = async (
  m: Served,
  fields: Fields,
  signal: AbortSignal,
): Promise<E.Either<ApiError, Reply>> => {
  const opened = pipe(
    E.Do,
    E.chainFirst(() => known(fields, read, neutral)),
    E.bind('asked', () => askedOf(m, fields, scoredOf)),
    E.bind('prompts', () => promptsOf(m, fields)),
    E.bind('wanted', () => integer(1, m.context)(fields, 'max_tokens')),
    E.bind('echo', () => flag(fields, 'echo')),
    E.chainFirst(({ asked }) => bestOf(fields, asked.n)),
    E.bind('limits', ({ prompts, wanted }) =>
      pipe(
        prompts,
        E.traverseArray((p) => limitOf(m, p.ids.length, wanted, USUAL, 'prompt')),
      ),
    ),
  )
  if (E.isLeft(opened)) return opened
  const { asked, prompts, limits, echo } = opened.right
  const each = Array.from({ length: asked.n })
  const choices = prompts.flatMap(({ ids }, p) =>
    each.map((_, i) => ({ prompt: ids, sequence: p * asked.n + i, limit: limits[p]! })),
  )
  const echoes = echo === true ? prompts.flatMap((p) => each.map(() => p.text)) : null
  const tokens = prompts.reduce((n, p) => n + p.ids.length, 0)
  return replyOf(m, choices, asked, tokens, wordingOf(m, m.id('cmpl'), echoes, asked), signal)
}
