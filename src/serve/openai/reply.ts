/** What a handler gives back: a body, or events that come while the answer grows. */
import * as E from 'fp-ts/lib/Either.js'
import type { Issue } from '../../issue.ts'
import { answerAll, begin, type Answered, type Choice } from '../answering.ts'
import type { Busy } from '../engine.ts'
import type { Served } from '../model.ts'
import type { Scored } from '../scores.ts'
import {
  beyondQueue,
  bodyOf,
  invalid,
  overloaded,
  serverError,
  stopping,
  timedOut,
  type ApiError,
} from './errors.ts'
import type { Asked } from './sampling.ts'

/** Sends one event of a stream. */
export type Send = (data: unknown) => void

export type Reply =
  | { readonly _tag: 'body'; readonly body: unknown }
  /** Done when the last event was sent. */
  | { readonly _tag: 'events'; readonly events: (send: Send) => Promise<void> }

export const body = (value: unknown): Reply => ({ _tag: 'body', body: value })

export const busyError = (why: Busy): ApiError =>
  why === 'full' ? overloaded : why === 'closing' ? stopping : beyondQueue

/** What the model said no to. */
export const issueError = (i: Issue): ApiError =>
  serverError(i.hint === undefined ? i.message : `${i.message}; ${i.hint}`)

export const failure = (why: Busy | Issue | null): ApiError => {
  if (why === null) return timedOut
  return typeof why === 'string' ? busyError(why) : issueError(why)
}

/** Tokens of prompts and answers, a prompt counted once for all of its answers. */
export const usageOf = (prompt: number, completion: number) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
})

/** The prompts' room was asked for in vain. */
export const tooLong = (
  m: Served,
  prompt: number,
  wanted: number | null,
  param: string,
): ApiError =>
  invalid(
    `This model's maximum context length is ${m.context} tokens. However, ${
      wanted === null
        ? `your ${param} resulted in ${prompt} tokens. Please reduce the length of the ${param}.`
        : `you requested ${prompt + wanted} tokens (${prompt} in the ${param}, ${wanted} in the completion). Please reduce the length of the ${param} or completion.`
    }`,
    param,
    'context_length_exceeded',
  )

/** Tokens that an answer may have. Left: prompt, or prompt and answer, are longer than the context. */
export const limitOf = (
  m: Served,
  prompt: number,
  wanted: number | null,
  usual: number,
  param: string,
): E.Either<ApiError, number> => {
  const room = m.context - prompt
  if (room < 1 || (wanted !== null && wanted > room))
    return E.left(tooLong(m, prompt, room < 1 ? null : wanted, param))
  return E.right(wanted ?? Math.min(usual, room))
}

/** How an API words its answers. */
export interface Wording {
  readonly whole: (answers: ReadonlyArray<Answered>, usage: ReturnType<typeof usageOf>) => unknown
  /** The first event of a choice, if any. */
  readonly opening: ((choice: number) => unknown) | null
  readonly part: (choice: number, text: string, scores: ReadonlyArray<Scored>) => unknown
  readonly closing: (choice: number, answered: Answered) => unknown
  readonly tally: (usage: ReturnType<typeof usageOf>) => unknown
}

const total = (answers: ReadonlyArray<Answered>): number =>
  answers.reduce((n, a) => n + a.ids.length, 0)

/** Answers as they grow, then usage where it is wanted, then the word that ends a stream. */
const streamed = (
  m: Served,
  choices: ReadonlyArray<Choice>,
  asked: Asked,
  promptTokens: number,
  words: Wording,
  signal: AbortSignal,
): E.Either<ApiError, Reply> => {
  const early: Array<unknown> = []
  let send: Send = (event) => early.push(event)
  let [completion, ended, over] = [0, 0, false]
  let end: () => void = () => {}
  const begun = begin(m, choices, asked, {
    more: (i, text, scores) => send(words.part(i, text, scores)),
    finished: (i, answered) => {
      completion += answered.ids.length
      ended++
      send(words.closing(i, answered))
    },
    done: (failed) => {
      if (failed !== null) send(bodyOf(issueError(failed)))
      else if (ended < choices.length) send(bodyOf(timedOut))
      else if (asked.usage) send(words.tally(usageOf(promptTokens, completion)))
      over = true
      end()
    },
  })
  if (E.isLeft(begun)) return E.left(busyError(begun.left))
  signal.addEventListener('abort', begun.right, { once: true })
  return E.right({
    _tag: 'events',
    events: (to) =>
      new Promise((resolve) => {
        if (words.opening !== null) choices.forEach((_, i) => to(words.opening!(i)))
        for (const event of early) to(event)
        send = to
        end = resolve
        if (over) resolve()
      }),
  })
}

export const replyOf = async (
  m: Served,
  choices: ReadonlyArray<Choice>,
  asked: Asked,
  promptTokens: number,
  words: Wording,
  signal: AbortSignal,
): Promise<E.Either<ApiError, Reply>> => {
  if (asked.stream) return streamed(m, choices, asked, promptTokens, words, signal)
  const answers = await answerAll(m, choices, asked, signal)
  return E.isLeft(answers)
    ? E.left(failure(answers.left))
    : E.right(body(words.whole(answers.right, usageOf(promptTokens, total(answers.right)))))
}
