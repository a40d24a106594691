/** Held-out prompts put to the model: which, with what, and how the answers are shown. */
import type { Session } from '../../backends/backend.ts'
import type * as TE from 'fp-ts/lib/TaskEither.js'
import {
  exactness,
  optionsOf,
  questionsOf,
  type Comparison,
  type Exactness,
  type Question,
} from '../generate/index.ts'
import type { Issue } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { plural } from '../report/units.ts'
import type { Style } from '../report/style.ts'
import type { Terminal } from './terminal.ts'

/** Rows asked at most; a first look, where `evaluate --generate` takes all. */
const MOST = 256

/** Rows of the test split, else of the validation split. */
export const heldOut = (plan: Plan): ReadonlyArray<Question> => {
  if (plan.data === null || plan.shapes.generate === null) return []
  const test = questionsOf(plan.data, 'test')
  return (test.length > 0 ? test : questionsOf(plan.data, 'validation')).slice(0, MOST)
}

/** Answers the questions with a training session's weights as they are. */
export const ask =
  (plan: Plan, questions: ReadonlyArray<Question>, t: Terminal) =>
  (session: Session, when: 'before' | 'after'): TE.TaskEither<Issue, Exactness> => {
    const options = optionsOf(plan.config, plan.base.spec, plan.data!.tokenizer)
    return exactness(session, plan.shapes.generate!, questions, options, (p) =>
      t.status(`answering held-out prompts ${when} training: ${p.done}/${p.of}`),
    )
  }

const shown = (text: string): string => text.trim().replace(/\n/g, '\n            ')

const mark = (matches: boolean, s: Style): string => (matches ? s.green('✓') : s.red('✗'))

/** A prompt, the answer the data gives, and the model's, before and after. */
export const comparisonLines = (c: Comparison, s: Style): ReadonlyArray<string> => [
  '',
  `${s.bold('prompt')}      ${s.dim(shown(c.prompt))}`,
  `${s.bold('expected')}    ${shown(c.expected)}`,
  ...(c.before === null
    ? []
    : [`${s.bold('before')}    ${mark(c.before.matches, s)} ${shown(c.before.answer.text)}`]),
  `${s.bold('after')}     ${mark(c.after.matches, s)} ${shown(c.after.answer.text)}`,
]

/** What limits did to prompts and answers. */
export const limitLines = ({
  cut,
  unfinished,
}: Pick<Exactness, 'cut' | 'unfinished'>): ReadonlyArray<string> => [
  ...(cut > 0
    ? [
        `! ${plural(cut, 'prompt')} did not fit the context: tokens near the beginning were left out`,
      ]
    : []),
  ...(unfinished > 0
    ? [
        `! ${plural(unfinished, 'answer')} ended at a limit (generation.max_new_tokens, or the context) and not by itself`,
      ]
    : []),
]
