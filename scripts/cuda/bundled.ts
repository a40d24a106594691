/** The bundled job end to end in every type, and Turing's code run as PTX: all reach the exact match of f32. */
import fs from 'node:fs'
import path from 'node:path'
import type * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import { decode } from '../../backends/bytes.ts'
import { scalar } from '../../ir/type.ts'
import { SCALE } from '../../passes/precision.ts'
import { backendNames, load } from '../../src/backends.ts'
import type { Config } from '../../src/config/index.ts'
import { exactness, optionsOf, questionsOf, type Exactness } from '../../src/generate/index.ts'
import type { Issue } from '../../src/issue.ts'
import type { Device } from '../../src/plan/device.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { train } from '../../src/train/train.ts'
import { right } from '../../test/right.ts'
import { BUNDLED, computing, examplePlan } from './jobs.ts'
import { standOf } from './stand.ts'
import type { Outcome } from './table.ts'

/** Points of exact match that a type may cost. */
const POINTS = 3

interface Engine {
  readonly backend: Backend
  readonly device: Device | null
}

/** A GPU's stand, or a backend of the CPU to try the check with. */
const engineOf = async (name: string, folder: string, arch?: string): Promise<Engine> => {
  if (name === 'cuda')
    return standOf({ emulated: false, folder, ...(arch === undefined ? {} : { arch }) })
  const known = backendNames.find((n) => n === name)
  if (known === undefined) throw new Error(`no backend ${name}`)
  const backend = await load(known)
  if ('why' in backend) throw new Error(backend.why)
  return { backend, device: null }
}

interface Done {
  readonly before: number
  readonly after: number
  readonly steps: number
  readonly skipped: number
  readonly scale: number | null
  readonly seconds: number
  readonly all: number
}

const trained = async (plan: Plan, backend: Backend, folder: string): Promise<Done> => {
  const questions = questionsOf(plan.data!, 'test')
  const options = optionsOf(plan.config, plan.base.spec, plan.data!.tokenizer)
  const scaled = plan.program.state.some((s) => s.name === SCALE)
  let [skipped, scale] = [0, null as number | null]
  const answer =
    (s: Session, when: 'before' | 'after'): TE.TaskEither<Issue, Exactness> =>
    async () => {
      if (scaled && when === 'after')
        scale = decode(scalar('f32'), right(await s.read(SCALE)()))[0]!
      return exactness(s, plan.shapes.generate!, questions, options)()
    }
  const begun = performance.now()
  const r = right(
    await train(plan, backend, {
      resultsFolder: folder,
      experimentName: 'bundled',
      onEvent: (e) => {
        if (e._tag === 'step' && !e.applied) skipped++
      },
      stop: () => false,
      clock: () => performance.now(),
      answer,
    })(),
  )
  return {
    before: 100 * r.answers!.before.exactMatch,
    after: 100 * r.answers!.after!.exactMatch,
    steps: r.steps,
    skipped,
    scale,
    seconds: r.seconds,
    all: (performance.now() - begun) / 1e3,
  }
}

const variants: Readonly<
  Record<string, { readonly compute: Config['compiler']['compute_dtype']; readonly arch?: string }>
> = {
  float32: { compute: 'float32' },
  bfloat16: { compute: 'bfloat16' },
  float16: { compute: 'float16' },
  turing: { compute: 'float16', arch: 'compute_75' },
}

export const bundled = async (o: {
  readonly folder: string
  readonly backend: string
  readonly variants: ReadonlyArray<string>
  readonly epochs: number
}): Promise<Outcome> => {
  const rows: string[][] = []
  const faults: string[] = []
  // Of an earlier call, where variants are run one a call.
  const kept = path.join(o.folder, 'float32.json')
  let exact = fs.existsSync(kept) ? (JSON.parse(fs.readFileSync(kept, 'utf8')) as number) : null
  for (const name of o.variants) {
    const v = variants[name]
    if (v === undefined) throw new Error(`no variant ${name}`)
    const { backend, device } = await engineOf(o.backend, o.folder, v.arch)
    const plan = examplePlan(BUNDLED, device, (c) => {
      const changed = computing(v.compute)(c)
      return { ...changed, trainer: { ...changed.trainer, epochs: o.epochs } }
    })
    const d = await trained(plan, backend, path.join(o.folder, `bundled-${name}`))
    if (name === 'float32') {
      exact = d.after
      fs.writeFileSync(kept, JSON.stringify(exact))
    }
    const gap = exact === null ? null : d.after - exact
    if (gap === null) faults.push(`${name}: run float32 first, to compare with`)
    else if (gap < -POINTS) faults.push(`${name}: ${d.after} % where float32 has ${exact} %`)
    rows.push([
      name,
      String(d.steps),
      String(d.skipped),
      d.scale === null ? '-' : String(d.scale),
      `${d.before.toFixed(1)} %`,
      `${d.after.toFixed(1)} %`,
      gap === null ? '-' : gap.toFixed(1),
      d.seconds.toFixed(2),
      d.all.toFixed(2),
    ])
  }
  return {
    columns: [
      `bundled job on ${o.backend}`,
      ...['steps', 'skipped', 'loss scale', 'before', 'after', 'points', 'training s', 'all s'],
    ],
    rows,
    faults,
  }
}
