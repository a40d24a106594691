/**
 * What the model that training begins with makes of every sequence: computed once, before the first step, and kept in the
 * cache of the results by weights, program and tokens, so that a resumed run and the next of its kind need not ask again.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import type { Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'
import type { Grid } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Issue } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { sumOf } from '../tensors/sums.ts'
import type { Blame } from '../train/evaluate.ts'
import { sumsOf, withOther } from './sums.ts'
import type { Nlls } from './score.ts'

/** Negative log-likelihoods of a sample's sequences, and of the answer of another row where there is one. */
export interface Reference {
  readonly nlls: Nlls
  readonly other?: number
}

export type References = (s: Sample) => Reference

/** Where the model is compared with nothing. */
export const noReferences: References = () => ({ nlls: [] })

/** Samples put to the model that a session holds. */
export interface Question {
  readonly session: Session
  readonly grid: Pick<Grid, 'rows' | 'length'>
  readonly samples: ReadonlyArray<Sample>
  /** The issue of a loss that is no number. */
  readonly blame: Blame
}

export interface Asking extends Question {
  /** Its `evaluate` asks. */
  readonly program: Program
  readonly backend: string
  /** SHA-256 of the base's tensors, and of an adapter that training goes on from. */
  readonly weights: string
}

/** The function that asks, over the state it reads: learning rates and losses make no other reference. */
const questionOf = (p: Program): string => {
  const fns = p.fns.filter((f) => f.name === 'evaluate')
  const read = new Set(fns.flatMap((f) => f.reads.map((r) => r.state)))
  return print({ ...p, state: p.state.filter((s) => read.has(s.name)), fns })
}

const keyOf = ({ program, backend, weights, samples }: Asking): string => {
  const hash = createHash('sha256')
  hash.update(`${backend}\n${weights}\n${questionOf(program)}\n`)
  for (const { prompt, target, rejected = [], other = [] } of samples)
    hash.update(`${[prompt, target, rejected, other].map((ids) => ids.join(' ')).join('|')}\n`)
  return hash.digest('hex')
}

const fileCodec = t.strict({
  key: t.string,
  /** Of the values' JSON. */
  sha256: t.string,
  values: t.readonlyArray(t.readonlyArray(t.number)),
})

type Values = ReadonlyArray<ReadonlyArray<number>>

const fileIn = (cache: string, key: string): string =>
  join(cache, `reference-${key.slice(0, 16)}.json`)

/** Null: none are kept, or not what was written. They are made again then. */
const kept = async (file: string, key: string, count: number): Promise<Values | null> => {
  try {
    const read = fileCodec.decode(JSON.parse(await fs.readFile(file, 'utf8')))
    if (E.isLeft(read)) return null
    const { values } = read.right
    const sound = read.right.key === key && sumOf(JSON.stringify(values)) === read.right.sha256
    return sound && values.length === count ? values : null
  } catch {
    return null
  }
}

const keep = (cache: string, key: string, values: Values): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('make the folder', cache, () => fs.mkdir(cache, { recursive: true })),
    TE.chain(() => {
      const text = JSON.stringify({ key, sha256: sumOf(JSON.stringify(values)), values })
      return atomicWrite(fileIn(cache, key), Buffer.from(text))
    }),
  )

/** Of each sample its sequences, and the other's answer behind them. Left: a number that is none. */
const asked = (a: Question): TE.TaskEither<Issue, Values> =>
  pipe(
    TE.Do,
    TE.bind('own', () => sumsOf(a.session, a.grid, a.samples)),
    TE.bind('others', () => sumsOf(a.session, a.grid, withOther(a.samples))),
    TE.chainEitherK(({ own, others }) => {
      const values = own.map(({ nlls }, i) => [...nlls, ...(others[i]?.nlls ?? [])])
      const odd = values.findIndex((v) => !v.every(Number.isFinite))
      return odd < 0
        ? E.right(values)
        : E.left(
            a.blame(
              values[odd]!.find((x) => !Number.isFinite(x))!,
              [a.samples[odd]!],
            ),
          )
    }),
  )

const byRow = (samples: ReadonlyArray<Sample>, values: Values): References => {
  const known = new Map(
    samples.map(({ row, other }, i): [number, Reference] => [
      row,
      other === undefined
        ? { nlls: values[i]! }
        : { nlls: values[i]!.slice(0, 1), other: values[i]![1]! },
    ]),
  )
  return (s) => known.get(s.row)!
}

/** By the weights that the session holds. */
export const referencesBy = (q: Question): TE.TaskEither<Issue, References> =>
  TE.map((values: Values) => byRow(q.samples, values))(asked(q))

export interface Found {
  readonly references: References
  /** Sequences that the base was asked, and whether their answers lay in the cache. */
  readonly sequences: number
  readonly known: boolean
}

/** `cache`: the folder beside the results. The session holds the first weights. */
export const referencesOf = (a: Asking, cache: string): TE.TaskEither<Issue, Found> => {
  const key = keyOf(a)
  return pipe(
    TE.fromTask(() => kept(fileIn(cache, key), key, a.samples.length)),
    TE.chain((values) =>
      values !== null
        ? TE.right({ values, known: true })
        : pipe(
            asked(a),
            TE.chainFirst((made) => keep(cache, key, made)),
            TE.map((made) => ({ values: made, known: false })),
          ),
    ),
    TE.map(({ values, known }) => ({
      references: byRow(a.samples, values),
      sequences: values.reduce((n, v) => n + v.length, 0),
      known,
    })),
  )
}
