/** The plan and the session by which an opened model answers. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import { importAdapter } from '../adapter/import.ts'
import type { Config } from '../config/index.ts'
import { one, type Issues } from '../issue.ts'
import { affordable } from '../machine.ts'
import type { Device } from '../plan/device.ts'
import { planOf, type Plan } from '../plan/plan.ts'
import { importHeads, withoutHeads } from '../train/heads.ts'
import { initializePlan } from '../train/initialize.ts'
import { call } from '../train/problem.ts'
import { remarked } from './open.ts'
import type { Terminal } from './terminal.ts'
import { otherBase, type Trained } from './trained.ts'

/** Who only asks a model is not held to what there was when it was trained, and weighs no ways to train. */
const unbound = (c: Config, device: Device | null | undefined): Config =>
  c.compiler.memory_budget === 'auto' || (device ?? null) !== null
    ? { ...c, compiler: { ...c.compiler, memory_budget: null } }
    : c

/** Decides shapes and reads data as a run on that device would. A base that is asked as it is gets no adapter. */
export const planTrained = (
  { config, folder, heads, examples = null }: Trained,
  t: Terminal,
  device?: Device | null,
  asking = false,
): E.Either<Issues, Plan> =>
  pipe(
    planOf(unbound(config, device), {
      folder,
      clock: t.clock,
      asking,
      examples,
      ...(heads === null ? {} : { targets: heads.targets }),
      ...(device === undefined
        ? {}
        : { device: device === null ? null : { ...device, freeBytes: null } }),
    }),
    E.map((plan) => remarked(plan, t)),
  )

const filled = (
  session: Session,
  plan: Plan,
  program: Program,
  { adapter, heads, trainedOn }: Trained,
  first: (session: Session) => TE.TaskEither<Issues, void>,
): TE.TaskEither<Issues, void> =>
  pipe(
    initializePlan({ ...plan, program }, session),
    TE.mapLeft(one),
    TE.filterOrElse(
      (sum) => trainedOn === null || trainedOn.sha256 === sum,
      () => otherBase('its weights are others', plan.base.folder ?? plan.base.name),
    ),
    TE.chain(() => first(session)),
    TE.chain(() =>
      adapter === null || plan.techniques.lora === null
        ? TE.right(undefined)
        : importAdapter(session, withoutHeads(program), plan.techniques.lora, adapter),
    ),
    TE.chain(() =>
      heads === null
        ? TE.right(undefined)
        : TE.mapLeft(one)(importHeads(session, program, heads.results)),
    ),
  )

/** Uses a session that holds the base's weights and the adapter's, and closes it; `first` sees it without the adapter. Left also where the base is another one. */
export const withSession = <A>(
  backend: Backend,
  plan: Plan,
  program: Program,
  trained: Trained,
  use: (session: Session) => TE.TaskEither<Issues, A>,
  first: (session: Session) => TE.TaskEither<Issues, void> = () => TE.right(undefined),
): TE.TaskEither<Issues, A> =>
  TE.bracket(
    pipe(
      TE.fromEither(affordable(backend.name, arenaBytes(program), plan.device)),
      TE.chain(() => call(backend.prepare(program))),
      TE.mapLeft(one),
    ),
    (session) =>
      pipe(
        filled(session, plan, program, trained, first),
        TE.chain(() => use(session)),
      ),
    (session) => pipe(call(session.close()), TE.mapLeft(one)),
  )
