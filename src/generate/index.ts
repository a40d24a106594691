/** Generation: what the commands call. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Issue } from '../issue.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import {
  answer,
  type Answer,
  type GenerationProgress,
  type Grid,
  type Request,
} from './generate.ts'
import type { Options } from './options.ts'

export { compared, exactness, questionsOf, unasked } from './exact-match.ts'
export type { Answered, Comparison, Exactness, Question } from './exact-match.ts'
export { answer, unanswerable } from './generate.ts'
export type { Answer, GenerationProgress, Grid, Request } from './generate.ts'
export { optionsOf, type Options } from './options.ts'
export { generationPlan } from './plan.ts'
export { generationShapes as gridFor } from '../plan/shapes.ts'
export type { Sampling } from './sample.ts'

/** Texts as requests, numbered as they stand. */
export const requestsOf = (
  tokenizer: Tokenizer,
  prompts: ReadonlyArray<string>,
): ReadonlyArray<Request> =>
  prompts.map((text, sequence) => ({
    prompt: tokenizer.encode(text, { addBos: true }),
    sequence,
  }))

/** Answers rendered prompts with a session of a program compiled for the grid `g`. Left: as `answer`. */
export const generateTexts = (
  session: Session,
  g: Grid,
  tokenizer: Tokenizer,
  prompts: ReadonlyArray<string>,
  o: Options,
  onProgress?: (p: GenerationProgress) => void,
): TE.TaskEither<Issue, ReadonlyArray<Answer & { readonly prompt: string }>> =>
  pipe(
    answer(session, g, requestsOf(tokenizer, prompts), o, onProgress),
    TE.map((answers) => answers.map((a, i) => ({ ...a, prompt: prompts[i]! }))),
  )
