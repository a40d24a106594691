/** The memory ladder: what each technique of a plan saves, every rung compiled for real. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { inEightBits, type Policy, type Quantize } from '../../passes/index.ts'
import type { Issues } from '../issue.ts'
import type { Shapes } from '../models/llama.ts'
import type { Techniques } from '../pipeline.ts'
import {
  footprintOf,
  weightsOf,
  type Activation,
  type Footprint,
  type Weights,
} from './footprint.ts'
import { atRest, type AtRest } from './at-rest.ts'
import { compileWith } from './program.ts'
import { machineOf } from './machine.ts'
import type { Plan } from './plan.ts'
import { roomWords } from './room.ts'

export interface Rung {
  /** `full fine-tuning in f32`, `+ lora r=8`, … */
  readonly name: string
  readonly shapes: Shapes
  readonly footprint: Footprint
}

export interface Ladder {
  readonly model: string
  /** From plain full fine-tuning to the plan itself. */
  readonly rungs: ReadonlyArray<Rung>
  /** The plan's weights by how they are stored, and the bits of codes. */
  readonly weights: Weights
  readonly bits: 4 | 8
  /** The base's weights in each width they can lie in. */
  readonly atRest: ReadonlyArray<AtRest>
  /** What the backward reads of the forward: everything kept, and with checkpoints. */
  readonly activations: {
    readonly kept: ReadonlyArray<Activation>
    readonly checkpointed: ReadonlyArray<Activation>
    readonly policy: string
  }
}

interface Step {
  readonly name: string
  readonly techniques: Techniques
}

const none: Policy = { _tag: 'none' }

const policyName = (p: Policy): string =>
  p._tag === 'budget' ? `budget of ${p.bytes} bytes` : p._tag

const quantizationName = (q: Quantize): string =>
  inEightBits(q) ? 'int8' : `nf4${q.nested === null ? '' : ', double'}`

const rungOf = (o: NonNullable<Techniques['lora']>): string =>
  o.kind === 'ia3' ? '+ ia3' : `+ ${o.dora === true ? 'dora' : 'lora'} r=${o.r}`

/** Techniques switched on one after the other, in the pipeline's order. */
const stepsOf = (t: Techniques): readonly [Step, ...Step[]] => {
  const { prefer, eightBit, hold, neftune, ...bare } = t
  const off = { lora: null, quantize: null, compute: 'f32', recompute: none } as const
  const plain: Techniques = { ...bare, ...off }
  const prefers: Techniques = { ...plain, ...(prefer === undefined ? {} : { prefer }) }
  const lora: Techniques = { ...prefers, lora: t.lora }
  const coded: Techniques = { ...lora, quantize: t.quantize }
  const half: Techniques = { ...coded, compute: t.compute }
  const held: Techniques = {
    ...half,
    ...(hold === undefined ? {} : { hold }),
    ...(neftune === undefined ? {} : { neftune }),
  }
  const eight: Techniques = { ...held, ...(eightBit === undefined ? {} : { eightBit }) }
  return [
    {
      name: t.frozen === undefined ? 'full fine-tuning in f32' : 'the model in f32',
      techniques: plain,
    },
    ...(prefer === undefined ? [] : [{ name: `+ ${prefer._tag}`, techniques: prefers }]),
    ...(t.lora === null
      ? []
      : [
          {
            name: rungOf(t.lora),
            techniques: lora,
          },
        ]),
    ...(t.quantize === null
      ? []
      : [{ name: `+ ${quantizationName(t.quantize)}`, techniques: coded }]),
    ...(t.compute === 'f32' ? [] : [{ name: `+ ${t.compute}`, techniques: half }]),
    ...(hold === undefined ? [] : [{ name: '+ layers held', techniques: held }]),
    ...(eightBit === undefined ? [] : [{ name: '+ 8-bit optimizer', techniques: eight }]),
    ...(t.recompute._tag === 'none'
      ? []
      : [{ name: `+ recompute (${t.recompute._tag})`, techniques: t }]),
  ]
}

const rung = (plan: Plan, clock: () => number) => (step: Step, shapes: Shapes) =>
  pipe(
    compileWith(plan.base, step.techniques, shapes, clock, machineOf(plan.device)),
    E.map(({ program }): Rung => {
      const footprint = footprintOf(program, machineOf(plan.device))
      return { name: step.name, shapes, footprint }
    }),
  )

const rowsName = (s: Shapes): string => `+ ${s.rows === 1 ? 'one row' : `${s.rows} rows`} at a time`

/** How the plan uses the device's memory, where that is not the usual way: a rung of its own. */
const roomStep = ({ room, techniques }: Plan): ReadonlyArray<Step> => {
  const words = roomWords(room)
  return words === null ? [] : [{ name: `+ ${words}`, techniques }]
}

/** The plan is the last rung, and is not compiled again. */
const rungsOf = (plan: Plan, clock: () => number): E.Either<Issues, ReadonlyArray<Rung>> => {
  const { wanted } = plan
  const same = wanted.rows === plan.shapes.rows
  const steps = [...stepsOf(plan.techniques), ...roomStep(plan)]
  const last: Rung = {
    name: same ? steps.at(-1)!.name : rowsName(plan.shapes),
    shapes: plan.shapes,
    footprint: footprintOf(plan.program, machineOf(plan.device, plan.room)),
  }
  return pipe(
    [...(same ? steps.slice(0, -1) : steps)],
    E.traverseArray((step) => rung(plan, clock)(step, wanted)),
    E.map((rungs) => [...rungs, last]),
  )
}

/** Activations of the plan without recomputation and with; a plan that does not ask for it is shown whole layers. */
const activationsOf = (
  plan: Plan,
  rungs: ReadonlyArray<Rung>,
  clock: () => number,
): E.Either<Issues, Ladder['activations']> => {
  const asked = plan.techniques.recompute
  const own = rungs.at(-1)!
  const keptRung = rungs.find((r) => r.name.startsWith('+ recompute'))
  if (plan.techniques.frozen !== undefined)
    return E.right({ kept: [], checkpointed: [], policy: 'none' })
  if (asked._tag === 'none')
    return pipe(
      rung(plan, clock)(
        { name: '', techniques: { ...plan.techniques, recompute: { _tag: 'layers' } } },
        plan.shapes,
      ),
      E.map((r) => ({
        kept: own.footprint.kept,
        checkpointed: r.footprint.kept,
        policy: 'layers',
      })),
    )
  const before = rungs[rungs.indexOf(keptRung!) - 1]!
  return E.right({
    kept: before.footprint.kept,
    checkpointed: own.footprint.kept,
    policy: policyName(asked),
  })
}

/** Left: a technique that the model refuses. */
export const ladderOf = (plan: Plan, clock: () => number = () => 0): E.Either<Issues, Ladder> => {
  const { quantize } = plan.techniques
  return pipe(
    E.Do,
    E.bind('rungs', () => rungsOf(plan, clock)),
    E.bind('activations', ({ rungs }) => activationsOf(plan, rungs, clock)),
    E.map(({ rungs, activations }) => ({
      model: plan.base.name,
      rungs,
      weights: weightsOf(plan.program),
      bits: quantize !== null && inEightBits(quantize) ? 8 : 4,
      atRest: atRest(plan.program),
      activations,
    })),
  )
}
