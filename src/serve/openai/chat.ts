/** `/v1/chat/completions`: a message takes the place of the column that prompts are made of. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Served } from '../model.ts'
import { columnsOf, promptsOf } from '../prompts.ts'
import type { Scored } from '../scores.ts'
import { invalid, type ApiError } from './errors.ts'
import { flag, integer, known, missing, wrongType, type Fields } from './fields.ts'
import { issueError, limitOf, replyOf, type Reply, type Wording } from './reply.ts'
import { chatScores } from './logprobs.ts'
import { askedOf, commonFields, type Asked } from './sampling.ts'

const read = new Set([
  ...commonFields,
  'messages',
  'max_tokens',
  'max_completion_tokens',
  'logprobs',
  'top_logprobs',
])

const neutral = {
  response_format: ['{"type":"text"}'],
  tools: ['[]'],
  tool_choice: ['"none"', '"auto"'],
  functions: ['[]'],
  function_call: ['"none"', '"auto"'],
  parallel_tool_calls: ['true', 'false'],
  modalities: ['["text"]'],
  audio: [],
  prediction: [],
  reasoning_effort: [],
  service_tier: ['"auto"', '"default"'],
  store: ['false'],
  verbosity: [],
  web_search_options: [],
} satisfies Record<string, ReadonlyArray<string>>

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A message's text, or its parts that are text, one after the other. */
const contentOf = (message: Fields, at: string): E.Either<ApiError, string> => {
  const content = message['content'] ?? null
  if (typeof content === 'string') return E.right(content)
  if (content === null) return E.left(missing(`${at}.content`))
  if (!Array.isArray(content))
    return E.left(wrongType(`${at}.content`, 'a string or an array of parts', content))
  const parts: Array<string> = []
  for (const part of content as ReadonlyArray<unknown>) {
    const text = isFields(part) && part['type'] === 'text' ? part['text'] : null
    if (typeof text !== 'string')
      return E.left(
        invalid(
          `Invalid '${at}.content': only parts of type 'text' are supported by this model.`,
          `${at}.content`,
          'invalid_value',
        ),
      )
    parts.push(text)
  }
  return E.right(parts.join(''))
}

/** Who may speak in the real API; here only a user is heard. */
const roles = ['system', 'developer', 'user', 'assistant', 'tool', 'function']

/** The one message of a conversation that prompts have a place for. */
const messageOf = (fields: Fields): E.Either<ApiError, string> => {
  const messages = fields['messages'] ?? null
  if (messages === null) return E.left(missing('messages'))
  if (!Array.isArray(messages))
    return E.left(wrongType('messages', 'an array of objects', messages))
  if (messages.length === 0)
    return E.left(
      invalid(
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        'messages',
        'empty_array',
      ),
    )
  for (const [i, m] of messages.entries()) {
    const at = `messages[${i}]`
    if (!isFields(m)) return E.left(wrongType(at, 'an object', m))
    const role = m['role'] ?? null
    if (role === null) return E.left(missing(`${at}.role`))
    if (typeof role !== 'string' || !roles.includes(role))
      return E.left(
        invalid(
          `Invalid value: '${String(role)}'. Supported values are: ${roles.map((r) => `'${r}'`).join(', ')}.`,
          `${at}.role`,
          'invalid_value',
        ),
      )
  }
  const [first, ...more] = messages as ReadonlyArray<Fields>
  if (first!['role'] !== 'user' || more.length > 0)
    return E.left(
      invalid(
        "Invalid 'messages': this model was trained on single prompts, so its prompt has a place for one message with the role 'user' and none for instructions of a system or earlier turns. Write them into that message, or render the whole prompt and post it to /v1/completions.",
        'messages',
        'unsupported_value',
      ),
    )
  return contentOf(first!, 'messages[0]')
}

/** The prompt that training would have made of a row with that text. */
const promptOf = (m: Served, text: string): E.Either<ApiError, ReadonlyArray<number>> => {
  const columns = columnsOf(m)
  if (columns.length !== 1)
    return E.left(
      invalid(
        `This model's prompts are made of the columns ${columns.join(', ')}, and a message is one text: post the columns to /predict, or the rendered prompt to /v1/completions.`,
        'messages',
        'unsupported_value',
      ),
    )
  return pipe(
    promptsOf(m, [{ [columns[0]!]: text }]),
    E.mapLeft(([i]): ApiError => ({ ...issueError(i), ...invalid(i.message, 'messages') })),
    E.map(([ids]) => ids!),
    E.filterOrElse(
      (ids) => ids.length > 0,
      () => invalid("Invalid 'messages': the prompt has no token.", 'messages'),
    ),
  )
}

/** Both names of one number; the newer one counts. */
const wantedOf = (m: Served, fields: Fields): E.Either<ApiError, number | null> =>
  pipe(
    E.Do,
    E.bind('newer', () => integer(1, m.context)(fields, 'max_completion_tokens')),
    E.bind('older', () => integer(1, m.context)(fields, 'max_tokens')),
    E.map(({ newer, older }) => newer ?? older),
  )

/** Probabilities, where they are wanted, and how many of the likeliest beside. */
const scoredOf = (fields: Fields): E.Either<ApiError, number | null> =>
  pipe(
    E.Do,
    E.bind('wanted', () => flag(fields, 'logprobs')),
    E.bind('top', () => integer(0, 20)(fields, 'top_logprobs')),
    E.chain(({ wanted, top }) =>
      wanted !== true && top !== null && top > 0
        ? E.left(
            invalid(
              "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
              'top_logprobs',
            ),
          )
        : E.right(wanted === true ? (top ?? 0) : null),
    ),
  )

const wordingOf = (m: Served, id: string, { usage, scored }: Asked): Wording => {
  const common = { id, created: m.seconds(), model: m.name, system_fingerprint: m.fingerprint }
  const said = (scores: ReadonlyArray<Scored>) => (scored === null ? null : chatScores(m, scores))
  const chunk = (
    index: number,
    delta: object,
    reason: string | null,
    scores: ReadonlyArray<Scored> | null = null,
  ) => ({
    ...common,
    object: 'chat.completion.chunk',
    choices: [
      { index, delta, logprobs: scores === null ? null : said(scores), finish_reason: reason },
    ],
    ...(usage ? { usage: null } : {}),
  })
  return {
    whole: (answers, tokens) => ({
      ...common,
      object: 'chat.completion',
      choices: answers.map(({ text, reason, scores }, index) => ({
        index,
        message: { role: 'assistant', content: text, refusal: null },
        logprobs: said(scores),
        finish_reason: reason,
      })),
      usage: tokens,
    }),
    opening: (i) => chunk(i, { role: 'assistant', content: '', refusal: null }, null),
    part: (i, content, scores) => chunk(i, { content }, null, scores),
    closing: (i, { reason }) => chunk(i, {}, reason),
    tally: (tokens) => ({
      ...common,
      object: 'chat.completion.chunk',
      choices: [],
      usage: tokens,
    }),
  }
}

export const chat = async (
  m: Served,
  fields: Fields,
  signal: AbortSignal,
): Promise<E.Either<ApiError, Reply>> => {
  const opened = pipe(
    E.Do,
    E.chainFirst(() => known(fields, read, neutral)),
    E.bind('asked', () => askedOf(m, fields, scoredOf)),
    E.bind('message', () => messageOf(fields)),
    E.bind('prompt', ({ message }) => promptOf(m, message)),
    E.bind('wanted', () => wantedOf(m, fields)),
    E.bind('limit', ({ prompt, wanted }) =>
      limitOf(m, prompt.length, wanted, m.options.maxNew, 'messages'),
    ),
  )
  if (E.isLeft(opened)) return opened
  const { asked, prompt, limit } = opened.right
  const choices = Array.from({ length: asked.n }, (_, sequence) => ({ prompt, sequence, limit }))
  const words = wordingOf(m, m.id('chatcmpl'), asked)
  return replyOf(m, choices, asked, prompt.length, words, signal)
}
