/** Prompts put to the engine as one request: texts as they grow, and how each ended. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Sampling } from '../generate/index.ts'
import type { Issue } from '../issue.ts'
import type { Busy } from './engine.ts'
import type { Served } from './model.ts'
import { scoredOf, type Scored } from './scores.ts'
import { growing } from './text.ts'
import type { Adjust, Ended, Work } from './work.ts'

/** One text that is wanted. */
export interface Choice {
  readonly prompt: ReadonlyArray<number>
  /** By which its draws are seeded. */
  readonly sequence: number
  /** Most tokens of the answer. */
  readonly limit: number
}

export interface Manner {
  readonly sampling: Sampling
  readonly adjust: Adjust
  readonly stop: ReadonlyArray<string>
  /** How many of the likeliest are told of each token, beside its own probability; null: nothing is. */
  readonly scored: number | null
}

export interface Answered {
  readonly text: string
  /** What was made, its end not counted; more than the text shows where that ends before a stop string. */
  readonly ids: ReadonlyArray<number>
  /** Of every token, where that is wanted. */
  readonly scores: ReadonlyArray<Scored>
  /** `stop`: it ended by itself or at a stop string. */
  readonly reason: 'stop' | 'length'
}

export interface Listener {
  /** More of the text of a choice, and the tokens that came since the last of it. */
  readonly more: (choice: number, text: string, scores: ReadonlyArray<Scored>) => void
  readonly finished: (choice: number, answered: Answered) => void
  /** Called once, when every choice has ended: null, or why one could not be answered. */
  readonly done: (failed: Issue | null) => void
}

const silent = (): void => {}

/** Left: nothing was begun. Right: stops whatever still runs. */
export const begin = (
  m: Served,
  choices: ReadonlyArray<Choice>,
  manner: Manner,
  { more, finished, done }: Listener,
): E.Either<Busy, () => void> => {
  let left = choices.length
  let failed: Issue | null = null
  let cancel: () => void = silent
  const workOf = ({ prompt, sequence, limit }: Choice, i: number): Work => {
    const text = growing(m.options.decode, manner.stop)
    const ids: Array<number> = []
    const scores: Array<Scored> = []
    let given = 0
    const give = (part: string, last = false): void => {
      const since = scores.slice(given)
      if (part === '' && !(last && since.length > 0)) return
      given = scores.length
      more(i, part, since)
    }
    const end = (why: Ended): void => {
      if (why._tag === 'failed') {
        failed ??= why.issue
        // The others are of no use to a request that fails.
        cancel()
      } else if (why._tag !== 'cancelled') {
        give(text.rest(), true)
        const reason = why._tag === 'length' ? 'length' : 'stop'
        finished(i, { text: text.text(), ids, scores, reason })
      }
      left--
      if (left === 0) done(failed)
    }
    return {
      prompt,
      sequence,
      limit,
      sampling: manner.sampling,
      adjust: manner.adjust,
      ...(m.options.constraints === undefined ? {} : { constraints: m.options.constraints }),
      minNew: m.options.minNew,
      eosIds: m.options.eosIds,
      wantsScores: manner.scored !== null,
      take: (id, all) => {
        ids.push(id)
        if (manner.scored !== null && all !== null) scores.push(scoredOf(all, id, manner.scored))
        const { more: part, stopped } = text.add(id)
        give(part)
        return stopped
      },
      end,
    }
  }
  return pipe(
    m.engine.submit(choices.map(workOf)),
    E.map((stop) => (cancel = stop)),
  )
}

/** All answers at once, in the order of the choices. Left: busy, or why one could not be answered; null: stopped by the signal. */
export const answerAll = (
  m: Served,
  choices: ReadonlyArray<Choice>,
  manner: Manner,
  signal: AbortSignal,
): Promise<E.Either<Busy | Issue | null, ReadonlyArray<Answered>>> =>
  new Promise((resolve) => {
    const answers: Array<Answered> = []
    const begun = begin(m, choices, manner, {
      more: silent,
      finished: (i, answered) => (answers[i] = answered),
      done: (failed) => {
        const whole = choices.every((_, i) => answers[i] !== undefined)
        resolve(failed === null && whole ? E.right(answers) : E.left(failed))
      },
    })
    if (E.isLeft(begun)) return resolve(begun)
    if (signal.aborted) begun.right()
    else signal.addEventListener('abort', begun.right, { once: true })
  })
