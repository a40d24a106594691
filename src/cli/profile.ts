/** `tunec profile`: some steps on the GPU, and where their time and memory go. */
import * as E from 'fp-ts/lib/Either.js'
import type { Cuda } from '../../backends/cuda/driver/error.ts'
import type { CudaSession } from '../../backends/cuda/session.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { profileJson, profileLines } from '../report/profile.ts'
import { holdsWeights } from '../train/weights-there.ts'
import { cardHere } from './card.ts'
import { flagOf, numberOf, type Options, type Run } from './command.ts'
import { openPlan, refuse } from './open.ts'
import type { Terminal } from './terminal.ts'

const STEPS = 5

const noGpu = (why: string): Issue =>
  issue(`nothing can be profiled: no GPU works here: ${why}`, {
    hint: 'tunec doctor shows what is missing; compile --dump-kernels shows the launches with their floors, and needs no GPU',
  })

const problemOf = (e: { readonly message: string; readonly hint?: string }): Issue =>
  issue(e.message, e.hint === undefined ? {} : { hint: e.hint })

/** A plan for a CPU has no launches to time. */
const otherPlan = ({ device }: Plan, arch: number): Issue | null =>
  device === null
    ? issue('the plan is for a CPU, and only what a GPU runs is profiled', {
        path: 'compiler.backend',
        expected: 'cuda, or auto where a GPU works',
      })
    : device.target.arch === arch
      ? null
      : issue(`the plan is for sm_${device.target.arch}, and this GPU is sm_${arch}`, {
          hint: 'profile the config instead: it is planned for the GPU here',
        })

const profiled = async (plan: Plan, o: Options, t: Terminal): Promise<E.Either<Issues, object>> => {
  const { prepareCuda } = await import('../../backends/cuda/index.ts')
  const { measured } = await import('../profile/measure.ts')
  const opened: Cuda<CudaSession> = prepareCuda(plan.program, plan.room)
  if (E.isLeft(opened)) return E.left(one(problemOf(opened.left)))
  const session = opened.right
  const done = await measured(plan, session, {
    steps: numberOf(o, 'steps') ?? STEPS,
    ownWeights: plan.base.folder !== null && holdsWeights(plan.base.folder),
    clock: t.clock,
  })()
  const closed = await session.close()()
  if (E.isLeft(done)) return done
  if (E.isLeft(closed)) return E.left(one(problemOf(closed.left)))
  if (flagOf(o, 'json')) t.out(JSON.stringify(profileJson(done.right), null, 2))
  else t.out(...profileLines(done.right, t.style))
  return E.right(done.right)
}

export const run: Run = async (file, o, t) => {
  const card = await cardHere()
  if (E.isLeft(card)) return refuse([noGpu(card.left)], t)
  const opened = await openPlan(file, o, t)
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const other = otherPlan(opened.right, card.right.target.arch)
  if (other !== null) return refuse([other], t)
  const done = await profiled(opened.right, o, t)
  return E.isLeft(done) ? refuse(done.left, t) : 0
}
