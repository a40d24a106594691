/** `tunec collect-activations`: values of a model's inside for every text of a file. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import {
  collectFrom,
  collectingProgram,
  gridFor,
  namesOf,
  type Collected,
  type Text,
} from '../activations/collect.ts'
import { writeCollected } from '../activations/files.ts'
import type { Pool } from '../activations/pools.ts'
import { issue, one, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { askedOf } from '../predict/predict.ts'
import { count, plural } from '../report/units.ts'
import { deviceHere } from './card.ts'
import { flagOf, textOf, type Options, type Run } from './command.ts'
import { engineFor } from './engine.ts'
import { nearby, refuse } from './open.ts'
import { splitIn, splitOf, whatOf, withRows } from './rows.ts'
import type { Terminal } from './terminal.ts'
import { planTrained, withSession } from './trained-session.ts'
import { openTrained, type Trained } from './trained.ts'

const textsOf = (plan: Plan, o: Options): E.Either<Issues, ReadonlyArray<Text>> => {
  const { data } = plan
  const split = splitOf(splitIn(o))
  const asked = data === null ? [] : askedOf(plan, data, split)
  const texts = asked.filter((a) => a.ids.length > 0)
  return texts.length > 0
    ? E.right(texts)
    : E.left(
        one(
          issue(`there are no texts ${whatOf(splitIn(o))}`, {
            hint: 'name a file with --dataset, or other rows with --split',
          }),
        ),
      )
}

const wanted = (o: Options): E.Either<Issues, ReadonlyArray<string>> => {
  const names = (textOf(o, 'layers') ?? '').split(/[\s,]+/).filter((n) => n !== '')
  return names.length > 0
    ? E.right(names)
    : E.left(
        one(
          issue('--layers does not say what to collect', {
            expected: 'names such as hidden_states.1, layers.*.mlp or head',
            hint: '--list shows every name',
          }),
        ),
      )
}

const list = (plan: Plan, t: Terminal): E.Either<Issues, void> =>
  pipe(
    namesOf(plan),
    E.map((names) => t.out(...names.map(([name, width]) => `${name}  ${count(width)}`))),
  )

/** Heads are not read, so they need not be there. */
const headless = (x: Trained): Trained => ({ ...x, heads: null })

const collected = async (
  trained: Trained,
  plan: Plan,
  o: Options,
  t: Terminal,
): Promise<E.Either<Issues, Collected>> => {
  const opened = pipe(
    E.Do,
    E.bind('texts', () => textsOf(plan, o)),
    E.bind('names', () => wanted(o)),
    E.let('shapes', ({ texts }) => gridFor(texts)),
    E.bind('compiled', ({ shapes, names }) => collectingProgram(plan, shapes, names)),
  )
  if (E.isLeft(opened)) return opened
  const { texts, shapes, compiled } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return backend
  const pool = textOf(o, 'pool') as Pool
  const use = (session: Session): TE.TaskEither<Issues, Collected> =>
    pipe(
      collectFrom(session, compiled, shapes, texts, pool, (done) =>
        t.status(`collecting: ${done}/${texts.length}`),
      ),
      TE.mapLeft(one),
    )
  return withSession(backend.right, plan, compiled.program, headless(trained), use)()
}

export const run: Run = async (name, o, t) => {
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const trained = found.right
  const device = await deviceHere(trained.config, o)
  const planned = planTrained(withRows(trained, o, splitIn(o)), t, device, true)
  if (E.isLeft(planned)) return refuse(planned.left, t)
  const plan = planned.right
  if (flagOf(o, 'list')) {
    const listed = list(plan, t)
    return E.isLeft(listed) ? refuse(listed.left, t) : 0
  }
  const done = await collected(trained, plan, o, t)
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  const out = textOf(o, 'output')!
  const wrote = await writeCollected(out, done.right, textOf(o, 'pool') as Pool)()
  if (E.isLeft(wrote)) return refuse([wrote.left], t)
  const { activations, rows } = done.right
  t.out(
    `${plural(activations.length, 'value')} of ${plural(rows.length, 'text')} in ${nearby(out)}`,
    ...activations.map(
      (a) => `  ${a.name}  ${count(a.values.length / a.width)} × ${count(a.width)}`,
    ),
  )
  return 0
}
