/** A trained adapter with its base, asked inside a tfjs program. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { tfjsOn } from '../../backends/tfjs/index.ts'
import type { Tf } from '../../backends/tfjs/tf.ts'
import { planTrained, withSession } from '../cli/trained-session.ts'
import { openTrained } from '../cli/trained.ts'
import type { Terminal } from '../cli/terminal.ts'
import { generateTexts, gridFor, optionsOf } from '../generate/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import { plain } from '../report/style.ts'
import { loadTokenizer } from '../tokenizer/tokenizer.ts'

export interface AnswererOptions {
  /** Instead of the run's own. */
  readonly maxNewTokens?: number
}

/** Answers prompts as they stand, in their order. */
export type Answerer = (
  prompts: ReadonlyArray<string>,
  o?: AnswererOptions,
) => TE.TaskEither<Issues, ReadonlyArray<string>>

const silent: Terminal = {
  out: () => {},
  note: () => {},
  status: () => {},
  live: false,
  columns: 80,
  style: plain,
  noteStyle: plain,
  clock: () => 0,
  source: () => undefined,
}

/** Weights are read for each call and given back after it: nothing stays in tf.memory(). */
export const answererOn =
  (tf: object, results: string): Answerer =>
  (prompts, o = {}) =>
    pipe(
      openTrained(results, {}, silent),
      TE.map((x) => {
        const { generation, compiler } = x.config
        const most = o.maxNewTokens ?? generation.max_new_tokens
        return {
          ...x,
          config: {
            ...x.config,
            generation: { ...generation, max_new_tokens: most },
            compiler: {
              ...compiler,
              backend: 'tfjs' as const,
              dataset: null,
              row_length: 8,
              micro_batch_rows: 1,
            },
          },
        }
      }),
      TE.bindTo('trained'),
      TE.bind('plan', ({ trained }) => TE.fromEither(planTrained(trained, silent))),
      TE.bind('tokenizer', ({ plan }) =>
        plan.base.folder === null
          ? TE.left(
              one(issue(`the files of ${plan.base.name} are not here`, { path: 'base_model' })),
            )
          : pipe(TE.fromEither(loadTokenizer(plan.base.folder)), TE.mapLeft(one)),
      ),
      TE.chain(({ trained, plan, tokenizer }) => {
        const grid = gridFor(
          plan.config,
          plan.base.spec,
          prompts.map((p) => tokenizer.encode(p, { addBos: true }).length),
        )
        const shapes = { ...plan.shapes, generate: grid }
        return pipe(
          TE.fromEither(askingProgram(plan.base, plan.techniques, shapes, generationNames(grid))),
          TE.chain(({ program }) =>
            withSession(tfjsOn(tf as Tf), plan, program, trained, (session) =>
              pipe(
                generateTexts(
                  session,
                  grid,
                  tokenizer,
                  prompts,
                  optionsOf(plan.config, plan.base.spec, tokenizer),
                ),
                TE.mapLeft(one),
              ),
            ),
          ),
        )
      }),
      TE.map((answers) => answers.map((a) => a.text)),
    )
