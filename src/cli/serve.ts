/** `tunec serve`: a fine-tuned model, or a base as it is, behind HTTP until it is told to stop. */
import { randomBytes, randomInt } from 'node:crypto'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Session } from '../../backends/backend.ts'
import { optionsOf, type Grid } from '../generate/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import { limits } from '../plan/dataset.ts'
import type { Device } from '../plan/device.ts'
import type { Plan } from '../plan/plan.ts'
import { openEngine } from '../serve/engine.ts'
import { labelService } from '../serve/labels.ts'
import type { Served } from '../serve/model.ts'
import { textPosts } from '../serve/openai/routes.ts'
import { textPredictor } from '../serve/predict.ts'
import type { Service } from '../serve/service.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { deviceHere } from './card.ts'
import { numberOf, textOf, type Exit, type Options, type Run } from './command.ts'
import { engineFor } from './engine.ts'
import { tokenizerOf, withoutData } from './generate.ts'
import { refuse } from './open.ts'
import { serve } from './serving.ts'
import type { Terminal } from './terminal.ts'
import { planTrained, withSession } from './trained-session.ts'
import { openTrained, type Trained } from './trained.ts'

const SLOTS = 8
const CONTEXT = 2048
const QUEUE = 256

/** Lengths that prompts are taken in: each four times the one before. */
const SHORTEST = 32

const widthsBelow = (most: number): ReadonlyArray<number> => {
  const widths: Array<number> = []
  for (let n = SHORTEST; n < most; n *= 4) widths.push(n)
  return widths
}

/** Tokens that are served together. */
const contextIn = (plan: Plan, o: Options): E.Either<Issues, number> => {
  const most = plan.base.spec.context
  const asked = numberOf(o, 'context') ?? Math.min(most, CONTEXT)
  return asked <= most
    ? E.right(asked)
    : E.left(one(issue(`--context is ${asked}, and the model was made for ${most} tokens`)))
}

const gridIn = (plan: Plan, o: Options): E.Either<Issues, Grid> =>
  pipe(
    contextIn(plan, o),
    E.map((asked) => ({
      batch: numberOf(o, 'slots') ?? SLOTS,
      prompt: asked,
      capacity: asked,
      shorter: widthsBelow(asked),
    })),
  )

const nameOf = (name: string, o: Options): string =>
  textOf(o, 'name') ?? path.basename(path.resolve(name)).replace(/\.ya?ml$/, '')

const servedOf = (
  name: string,
  plan: Plan,
  tokenizer: Tokenizer,
  grid: Grid,
  session: Session,
  o: Options,
): Served => {
  const seconds = (): number => Math.floor(Date.now() / 1000)
  return {
    name: nameOf(name, o),
    created: seconds(),
    fingerprint: `fp_${randomBytes(5).toString('hex')}`,
    config: plan.config,
    tokenizer,
    options: optionsOf(plan.config, plan.base.spec, tokenizer),
    context: grid.capacity,
    engine: openEngine(session, grid, numberOf(o, 'queue') ?? QUEUE),
    seed: () => randomInt(2 ** 32),
    id: (kind) => `${kind}-${randomBytes(12).toString('hex')}`,
    seconds,
  }
}

const textService = (m: Served): Service => ({
  ...textPredictor(m),
  name: m.name,
  created: m.created,
  posts: textPosts(m),
  counts: m.engine.counts,
  close: m.engine.close,
})

const serveTexts = async (
  name: string,
  trained: Trained,
  device: Device | null,
  o: Options,
  t: Terminal,
): Promise<Exit> => {
  const opened = pipe(
    E.Do,
    E.bind('plan', () => planTrained(withoutData(trained, o), t, device)),
    E.bind('tokenizer', ({ plan }) => tokenizerOf(plan)),
    E.bind('grid', ({ plan }) => gridIn(plan, o)),
    E.bind('compiled', ({ plan, grid }) =>
      askingProgram(
        plan.base,
        plan.techniques,
        { ...plan.shapes, generate: grid },
        generationNames(grid),
      ),
    ),
  )
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const { plan, tokenizer, grid, compiled } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return refuse(backend.left, t)
  t.status('loading the model')
  const done = await withSession(backend.right, plan, compiled.program, trained, (session) => {
    const m = servedOf(name, plan, tokenizer, grid, session, o)
    if (m.options.beams !== undefined)
      t.note(
        t.noteStyle.yellow(
          'note: served answers are single sequences: generation.num_beams has no effect here',
        ),
      )
    return serve(textService(m), o, t)
  })()
  t.status(null)
  return E.isLeft(done) ? refuse(done.left, t) : 0
}

/** One row of tokens at a time, which those who wait share. */
const forLabels = (x: Trained, length: number): Trained => ({
  ...x,
  config: {
    ...x.config,
    compiler: { ...x.config.compiler, dataset: null, row_length: length, micro_batch_rows: 1 },
  },
})

const untrained = issue('the heads of this model are not trained, so there is nothing to ask it', {
  hint: 'name the results of `tunec train`',
})

const serveLabels = async (
  name: string,
  trained: Trained,
  device: Device | null,
  o: Options,
  t: Terminal,
): Promise<Exit> => {
  const { heads } = trained
  if (heads === null) return refuse([untrained], t)
  if (numberOf(o, 'slots') !== undefined)
    t.note(
      t.noteStyle.yellow('note: --slots has no effect here: rows share the places of --context'),
    )
  const opened = pipe(
    planTrained(forLabels(trained, 8), t, device, true),
    E.chain((first) => contextIn(first, o)),
    E.chain((length) => planTrained(forLabels(trained, length), t, device, true)),
    E.bindTo('plan'),
    E.bind('tokenizer', ({ plan }) => tokenizerOf(plan)),
    E.bind('compiled', ({ plan }) =>
      askingProgram(plan.base, plan.techniques, plan.shapes, ['evaluate']),
    ),
  )
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const { plan, tokenizer, compiled } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return refuse(backend.left, t)
  t.status('loading the model')
  const done = await withSession(backend.right, plan, compiled.program, trained, (session) => {
    const service = labelService({
      name: nameOf(name, o),
      created: Math.floor(Date.now() / 1000),
      config: plan.config,
      tokenizer,
      job: { labels: plan.base.labels!, targets: heads.targets, shapes: plan.shapes },
      limits: limits(plan.config, plan.base.spec),
      session,
      queue: numberOf(o, 'queue') ?? QUEUE,
    })
    return serve(service, o, t)
  })()
  t.status(null)
  return E.isLeft(done) ? refuse(done.left, t) : 0
}

export const run: Run = async (name, o, t) => {
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const device = await deviceHere(found.right.config, o)
  const how = found.right.config.model_type === 'ecd' ? serveLabels : serveTexts
  return how(name, found.right, device, o, t)
}
