/** Named values of a model's inside for every text: the last token's, their mean, or all of them. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Session } from '../../backends/backend.ts'
import { fnOf } from '../../ir/graph.ts'
import { collect, namedValues, schedule, simplify } from '../../passes/index.ts'
import type { Compiled } from '../../passes/pass.ts'
import { packBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Shapes } from '../models/llama.ts'
import { modelPasses } from '../pipeline.ts'
import type { Plan } from '../plan/plan.ts'
import { programOf } from '../plan/program.ts'
import { call } from '../train/problem.ts'
import type { Pool } from './pools.ts'

/** A text as tokens. */
export interface Text {
  /** Index in the table. */
  readonly row: number
  readonly ids: ReadonlyArray<number>
}

/** Of one name: `width` numbers a text, or with `none` a token. */
export interface Activation {
  readonly name: string
  readonly width: number
  readonly values: Float32Array
}

export interface Collected {
  readonly rows: ReadonlyArray<number>
  /** Tokens of each text. */
  readonly lengths: ReadonlyArray<number>
  readonly activations: ReadonlyArray<Activation>
}

/** Beyond so many tokens at once nothing is gained. */
const TOKENS = 2048

/** A grid that holds the longest text. */
export const gridFor = (texts: ReadonlyArray<Text>): Shapes => {
  const longest = texts.reduce((n, t) => Math.max(n, t.ids.length), 1)
  const rows = Math.max(1, Math.min(texts.length, Math.floor(TOKENS / longest)))
  return { rows, length: longest, generate: null }
}

/** Encoders are read without their heads. */
const bare = (plan: Plan): Plan['base'] => {
  const { labels: _, ...base } = plan.base
  return base
}

const passesOf = (plan: Plan) => {
  const { heads: _, ...techniques } = plan.techniques
  return modelPasses(
    plan.techniques.heads === 'alone' ? { ...techniques, frozen: true } : techniques,
  )
}

/** What there is to collect, each with its width. */
export const namesOf = (
  plan: Plan,
): E.Either<Issues, ReadonlyArray<readonly [name: string, width: number]>> => {
  const shapes: Shapes = { rows: 1, length: 8, generate: null }
  return pipe(
    programOf(bare(plan), shapes, passesOf(plan), () => 0),
    E.map(({ program }) =>
      namedValues(fnOf(program, 'evaluate')!, 8).map((v) => [v.name, v.type.shape[1]!] as const),
    ),
  )
}

export const collectingProgram = (
  plan: Plan,
  shapes: Shapes,
  names: ReadonlyArray<string>,
): E.Either<Issues, Compiled> =>
  pipe(
    programOf(
      bare(plan),
      shapes,
      [
        ...passesOf(plan),
        collect({ fn: 'evaluate', names, rows: shapes.rows * shapes.length }),
        simplify,
        schedule,
      ],
      () => 0,
    ),
    E.mapLeft(([first]) => one(named(first, names))),
  )

/** The pass names every value there is, which are too many for a message. */
const named = (i: Issue, names: ReadonlyArray<string>): Issue =>
  i.message.includes('collect(')
    ? issue(`no value of the model is called as one of ${names.join(', ')} says`, {
        path: '--layers',
        expected: 'names such as hidden_states.1, layers.*.mlp or head',
        hint: '--list shows every name',
      })
    : i

const written = (
  into: Float32Array,
  from: Float32Array,
  { width, pool }: { readonly width: number; readonly pool: Pool },
  start: number,
  length: number,
  slot: number,
): void => {
  const token = (i: number) => from.subarray((start + i) * width, (start + i + 1) * width)
  if (pool === 'last') return into.set(token(length - 1), slot * width)
  if (pool === 'none')
    return into.set(from.subarray(start * width, (start + length) * width), slot * width)
  const sums = new Float64Array(width)
  for (let i = 0; i < length; i++) token(i).forEach((x, k) => (sums[k]! += x))
  into.set(
    sums.map((x) => x / length),
    slot * width,
  )
}

const offsetsOf = (texts: ReadonlyArray<Text>): ReadonlyArray<number> => {
  let at = 0
  return texts.map((t) => (at += t.ids.length) - t.ids.length)
}

/** Runs every text through the program, several a row of tokens. Left: a backend's error. */
export const collectFrom =
  (
    session: Session,
    { program }: Compiled,
    shapes: Shapes,
    texts: ReadonlyArray<Text>,
    pool: Pool,
    onProgress: (done: number) => void = () => {},
  ) =>
  async (): Promise<E.Either<Issue, Collected>> => {
    const samples = texts.map((t): Sample => ({ row: t.row, prompt: t.ids, target: [] }))
    const packed = packBatch(samples, shapes)
    if (E.isLeft(packed)) return packed
    const f = program.fns[0]!
    const widthOf = new Map(f.eqns.flatMap((e) => e.outs.map((o, i) => [o, e.types[i]!] as const)))
    const slots = offsetsOf(texts)
    const total = pool === 'none' ? texts.reduce((n, t) => n + t.ids.length, 0) : texts.length
    const activations = f.outs.map(({ name, id }): Activation => {
      const width = widthOf.get(id)!.shape[1]!
      return { name, width, values: new Float32Array(total * width) }
    })
    let done = 0
    for (const { tokens, positions, segments, samples: here } of packed.right) {
      const ran = await call(session.run(f.name, { tokens, positions, segments }))()
      if (E.isLeft(ran)) return ran
      const starts = Array.from(positions.keys()).filter(
        (i) => segments[i]! > 0 && positions[i] === 0,
      )
      here.forEach((s, k) => {
        const { length } = texts[s]!.ids
        for (const a of activations) {
          const slot = pool === 'none' ? slots[s]! : s
          const from = ran.right[a.name] as Float32Array
          written(a.values, from, { width: a.width, pool }, starts[k]!, length, slot)
        }
      })
      onProgress((done += here.length))
    }
    return E.right({
      rows: texts.map((t) => t.row),
      lengths: texts.map((t) => t.ids.length),
      activations,
    })
  }
