/** What a run could only end in, though plan and data decide it: said before anything is loaded. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { fetching } from '../models/base.ts'
import { longRow, type Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { warmsItself } from './course.ts'
import { rateAt, rateOf } from './rate.ts'
import { runOfPlan, stepOfTick, ticksDone } from './schedule.ts'

/** Rates rise in warm-up and do not vanish after it, so the steps before its end are of no interest. */
const learns = (plan: Plan, data: Dataset): boolean => {
  const run = runOfPlan(plan, data)
  const rate = rateOf(plan.config.trainer, run)
  // Programs take the rate in 32 bits.
  if (Math.fround(rate.learningRate) === 0) return false
  const last = run.steps - 1
  for (
    let i = Math.min(last, Math.max(0, stepOfTick(run, Math.min(rate.warmup, run.total)) - 1));
    i <= last;
    i++
  )
    if (Math.fround(rateAt(rate, ticksDone(run, i + 1) - 1)) > 0) return true
  return false
}

const idle = (plan: Plan, data: Dataset): Issue => {
  const { trainer } = plan.config
  const { steps } = runOfPlan(plan, data)
  const message = `the learning rate is 0 in ${steps === 1 ? 'the one step' : `all ${steps} steps`} of this run, so nothing would be learned`
  if (Math.fround(trainer.learning_rate) === 0)
    return issue(`the learning rate ${trainer.learning_rate} is 0 in 32 bits`, {
      path: 'trainer.learning_rate',
      hint: 'raise it: 0.0001 is usual with an adapter',
    })
  const {
    warmup_fraction: share,
    warmup_evaluations: marks,
    decay,
  } = trainer.learning_rate_scheduler
  if (warmsItself(trainer.learning_rate_scheduler) || (share === 0 && marks === 0))
    return issue(message, {
      path: 'trainer.learning_rate_scheduler.decay',
      hint: `write \`decay: linear\` instead of ${decay}, or train longer`,
    })
  const key = share > 0 && marks === 0 ? 'warmup_fraction' : 'warmup_evaluations'
  const both = share > 0 && marks > 0
  const { train_steps: ticks, epochs } = trainer
  const longer = ticks === null ? `epochs: ${2 * epochs}` : `train_steps: ${2 * ticks}`
  return issue(message, {
    path: `trainer.learning_rate_scheduler.${key}`,
    expected: 'a run that is longer than the first step of its warm-up',
    hint: `set ${both ? 'warmup_fraction and warmup_evaluations' : key} to 0, or train longer, as with trainer.${longer}`,
  })
}

/** A learning rate that is to follow a split without rows. */
const unmeasured = ({ config: { trainer } }: Plan, data: Dataset): Issue | null => {
  const s = trainer.learning_rate_scheduler
  return s.reduce_on_plateau > 0 &&
    s.reduce_eval_split === 'validation' &&
    !trainer.skip_all_evaluation &&
    data.samples.validation.length === 0
    ? issue('the learning rate follows the validation split, which has no rows', {
        path: 'trainer.learning_rate_scheduler.reduce_eval_split',
        hint: 'write `training`, or give the split rows with `preprocessing.split`',
      })
    : null
}

/** Left: no run of this plan could succeed. */
export const foresee = (plan: Plan): E.Either<Issues, Plan> => {
  const { data } = plan
  if (data === null || data.samples.train.length === 0 || plan.techniques.frozen !== undefined)
    return E.right(plan)
  const long = longRow(data, plan.shapes.length)
  if (long !== null) return E.left(one(long))
  const blind = unmeasured(plan, data)
  if (blind !== null) return E.left(one(blind))
  return learns(plan, data) ? E.right(plan) : E.left(one(idle(plan, data)))
}

const untrained: Issue = issue('this config trains nothing', {
  path: 'trainer.type',
  expected: 'finetune',
  hint: 'ask the model as it is with `tunec predict` or `tunec evaluate`, or write `trainer: {type: finetune}`',
})

/** The data of a plan that can be run. Left: `foresee`'s, or weights or data are missing. */
export const ready = (plan: Plan): E.Either<Issues, Dataset> => {
  const { base, data } = plan
  if (plan.techniques.frozen !== undefined) return E.left(one(untrained))
  if (base.folder === null)
    return E.left(
      one(
        issue(`only the architecture of ${base.name} is known here, and training needs weights`, {
          path: 'base_model',
          expected: 'a folder with config.json, tokenizer.json and safetensors files',
          hint: `${fetching(base.name)}name its folder as base_model`,
        }),
      ),
    )
  if (data === null || data.samples.train.length === 0)
    return E.left(
      one(
        issue('there is nothing to train on', {
          path: 'compiler.dataset',
          expected: 'a CSV, JSON or JSONL file with at least one row to learn from',
        }),
      ),
    )
  return pipe(
    foresee(plan),
    E.map(() => data),
  )
}
