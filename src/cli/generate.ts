/** `tunec generate`: answers to one prompt, or to the prompts that the rows of a file make. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import {
  generateTexts,
  gridFor,
  optionsOf,
  requestsOf,
  unanswerable,
  type Answer,
} from '../generate/index.ts'
import type { Session } from '../../backends/backend.ts'
import { issue, one, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'
import { limitLines } from './ask.ts'
import { numberOf, textOf, type Options, type Run } from './command.ts'
import { deviceHere } from './card.ts'
import { engineFor } from './engine.ts'
import { refuse } from './open.ts'
import { wantedPrompts } from './prompts.ts'
import type { Terminal } from './terminal.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import { inTurn, turnsOf } from './turns.ts'
import { planTrained, withSession } from './trained-session.ts'
import { openTrained, writesNothing, type Trained } from './trained.ts'

type Texts = ReadonlyArray<Answer & { readonly prompt: string; readonly adapter?: string }>

/** The run's own data is not needed to answer. */
export const withoutData = (x: Trained, o: Options): Trained => {
  const { generation, compiler } = x.config
  const most = numberOf(o, 'maxNewTokens') ?? generation.max_new_tokens
  return {
    ...x,
    config: {
      ...x.config,
      generation: { ...generation, max_new_tokens: most },
      compiler: { ...compiler, dataset: null, row_length: 8, micro_batch_rows: 1 },
    },
  }
}

export const tokenizerOf = ({ base }: Plan): E.Either<Issues, Tokenizer> =>
  base.folder === null
    ? E.left(
        one(
          issue(`only the architecture of ${base.name} is known here`, {
            path: 'base_model',
            expected: 'a folder with config.json, tokenizer.json and safetensors files',
          }),
        ),
      )
    : pipe(loadTokenizer(base.folder), E.mapLeft(one))

const write = (file: string, answers: Texts): E.Either<Issues, void> => {
  const lines = answers.map(({ prompt, adapter, text, stopped, cut }) =>
    JSON.stringify({
      ...(adapter === undefined ? {} : { adapter }),
      prompt,
      answer: text,
      stopped,
      ...(cut > 0 ? { prompt_tokens_cut: cut } : {}),
    }),
  )
  return E.tryCatch(
    () => fs.writeFileSync(file, `${lines.join('\n')}\n`),
    (e) =>
      one(
        issue(`the answers cannot be written: ${e instanceof Error ? e.message : String(e)}`, {
          file,
        }),
      ),
  )
}

const show = (answers: Texts, t: Terminal): void => {
  const { bold, dim } = t.style
  answers.forEach((a, i) => {
    if (answers.length > 1)
      t.out(
        ...(i === 0 ? [] : ['']),
        ...(a.adapter === undefined ? [] : [`${bold('adapter')} ${a.adapter}`]),
        `${bold('prompt')}  ${dim(a.prompt.trim())}`,
      )
    t.out(a.text)
    if (a.stopped === 'length') t.note(dim('(the answer was cut at --max-new-tokens)'))
    if (a.cut > 0) t.note(dim(`(${a.cut} tokens near the beginning of the prompt did not fit)`))
  })
}

export const run: Run = async (name, o, t) => {
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const trained = found.right
  const silent = writesNothing(trained)
  if (silent !== null) return refuse([silent], t)
  const taking = await turnsOf(name, trained, o)()
  if (E.isLeft(taking)) return refuse(taking.left, t)
  const turns = taking.right
  const device = await deviceHere(trained.config, o)
  const opened = pipe(
    E.Do,
    E.bind('asked', () => wantedPrompts(trained.config, o)),
    E.let('prompts', ({ asked }) => asked.prompts),
    E.bind('plan', () => planTrained(withoutData(trained, o), t, device)),
    E.bind('tokenizer', ({ plan }) => tokenizerOf(plan)),
    E.chainFirst(({ plan, prompts, tokenizer }) => {
      const why = unanswerable(requestsOf(tokenizer, prompts), plan.base.spec.vocab)
      return why === null ? E.right(undefined) : E.left(one(why))
    }),
    E.let('grid', ({ plan, prompts, tokenizer }) =>
      gridFor(
        plan.config,
        plan.base.spec,
        prompts.map((p) => tokenizer.encode(p, { addBos: true }).length),
      ),
    ),
    E.bind('program', ({ plan, grid }) =>
      pipe(
        askingProgram(
          plan.base,
          turns === null ? plan.techniques : { ...plan.techniques, lora: turns.room },
          { ...plan.shapes, generate: grid },
          generationNames(grid),
        ),
        E.map((c) => c.program),
      ),
    ),
  )
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const { asked, prompts, plan, tokenizer, grid, program } = opened.right
  if (asked.notes.length > 0) t.note(...asked.notes.map(t.noteStyle.yellow))
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return refuse(backend.left, t)
  const options = optionsOf(plan.config, plan.base.spec, tokenizer)
  const answered = (session: Session): TE.TaskEither<Issues, Texts> =>
    pipe(
      generateTexts(session, grid, tokenizer, prompts, options, (p) =>
        t.status(`answering: ${p.done}/${p.of}, ${p.tokens} tokens`),
      ),
      TE.mapLeft(one),
    )
  const alone = turns === null ? trained : { ...trained, adapter: null }
  const done = await withSession(backend.right, plan, program, alone, (session) =>
    turns === null
      ? answered(session)
      : pipe(
          inTurn(session, program, turns, (adapter) =>
            pipe(
              answered(session),
              TE.map((all) => all.map((a) => ({ ...a, adapter }))),
            ),
          ),
          TE.map((all) => all.flat()),
        ),
  )()
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  const file = textOf(o, 'output')
  if (file === undefined) return (show(done.right, t), 0)
  const written = write(file, done.right)
  if (E.isLeft(written)) return refuse(written.left, t)
  t.out(`${done.right.length} answers lie in ${file}`)
  const cut = done.right.filter((a) => a.cut > 0).length
  const unfinished = done.right.filter((a) => a.stopped === 'length').length
  t.out(...limitLines({ cut, unfinished }).map(t.style.yellow))
  return 0
}
