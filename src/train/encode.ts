/** Each row through a frozen encoder once: its vector is kept on disk, by weights, tokenizer and text. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import type { Sample } from '../data/samples.ts'
import { splitNames } from '../data/split.ts'
import type { Issue } from '../issue.ts'
import { encodingOf, type Encoding } from '../plan/encoding.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { openHashing } from '../tensors/hashing.ts'
import { byBytes } from '../tensors/layout.ts'
import type { Checkpoint } from '../tensors/reader.ts'
import { sumOf, type Sum } from '../tensors/sums.ts'
import { readVectors, writeVectors, type Vectors } from './embeddings-file.ts'
import { initialize } from './initialize.ts'
import { slotsOf, type LabelJob } from './label-task.ts'
import { call } from './problem.ts'
import { keyOf, openBase } from './state.ts'

export interface Encoded {
  /** By the row of the table. */
  readonly vectors: ReadonlyMap<number, Float32Array>
  /** SHA-256 of the base's tensors. */
  readonly weights: Sum
  readonly rows: number
  /** Rows that were encoded now; the others lay in the cache. */
  readonly computed: number
  /** What this took with loading and saving, and what a row takes by itself. */
  readonly seconds: number
  readonly secondsPerRow: number
  readonly file: string
}

export interface EncodeOptions {
  /** Where vectors are kept. */
  readonly cacheFolder: string
  /** Milliseconds. */
  readonly clock: () => number
  readonly onProgress: (done: number, of: number) => void
}

/** The same as `initialize` gives, without a session. */
const weightsOf =
  (base: Checkpoint, program: Program) => async (): Promise<E.Either<Issue, Sum>> => {
    const hashing = openHashing()
    const names = program.state.flatMap((s) => keyOf(s.recipe) ?? [])
    const sums: Array<readonly [string, Sum]> = []
    for (const name of names) {
      const sum = await hashing.sum(base, name)()
      if (E.isLeft(sum)) {
        await hashing.close()
        return sum
      }
      sums.push([name, sum.right])
    }
    await hashing.close()
    return E.right(sumOf(JSON.stringify(sums.toSorted(([a], [b]) => byBytes(a, b)))))
  }

/** Of a text: its tokens, which the tokenizer has made of it. */
const keyOfSample = ({ prompt }: Sample): string =>
  createHash('sha256')
    .update(Buffer.from(Int32Array.from(prompt).buffer))
    .digest('hex')

/** All that decides a vector besides its tokens; how samples are packed does not. */
const fileName = (plan: Plan, e: Encoding, backend: string, weights: Sum): string => {
  const { compute, quantize } = e.techniques
  const made = [1, weights, plan.base.spec, e.labels.pool, compute, quantize, backend]
  return `${createHash('sha256').update(JSON.stringify(made)).digest('hex')}.safetensors`
}

interface Computed {
  readonly vectors: ReadonlyMap<string, Float32Array>
  readonly seconds: number
}

const encodeAll =
  (session: Session, job: LabelJob, samples: ReadonlyArray<Sample>, o: EncodeOptions) =>
  async (): Promise<E.Either<Issue, Computed>> => {
    const slots = slotsOf(job, samples)
    if (E.isLeft(slots)) return slots
    const vectors = new Map<string, Float32Array>()
    const begun = o.clock()
    for (const { inputs, samples: here } of slots.right) {
      const ran = await call(session.run('evaluate', inputs))()
      if (E.isLeft(ran)) return ran
      const all = ran.right['embeddings'] as Float32Array
      const slotCount = inputs['pool']!.length / inputs['tokens']!.length
      const width = all.length / slotCount
      here.forEach((s, i) =>
        vectors.set(keyOfSample(samples[s]!), all.slice(i * width, (i + 1) * width)),
      )
      o.onProgress(vectors.size, samples.length)
    }
    return E.right({ vectors, seconds: (o.clock() - begun) / 1000 })
  }

const computed = (
  backend: Backend,
  base: Checkpoint,
  e: Encoding,
  seed: number,
  samples: ReadonlyArray<Sample>,
  o: EncodeOptions,
): TE.TaskEither<Issue, Computed> =>
  samples.length === 0
    ? TE.right({ vectors: new Map<string, Float32Array>(), seconds: 0 })
    : TE.bracket(
        call(backend.prepare(e.compiled.program)),
        (session) =>
          pipe(
            initialize(session, e.compiled.program, base, seed),
            TE.chain(() =>
              encodeAll(session, { labels: e.labels, targets: [], shapes: e.shapes }, samples, o),
            ),
          ),
        (session) => call(session.close()),
      )

/** One sample for each text. */
const distinct = (samples: ReadonlyArray<Sample>): ReadonlyMap<string, Sample> =>
  new Map(samples.map((s) => [keyOfSample(s), s]))

const merged = (had: Vectors, { vectors, seconds }: Computed): Vectors => ({
  of: new Map([...had.of, ...vectors]),
  secondsPerRow: vectors.size === 0 ? had.secondsPerRow : seconds / vectors.size,
})

/** The vectors of all rows of the data, those that the cache lacks encoded now. */
export const encodeRows = (
  plan: Plan,
  data: Dataset,
  backend: Backend,
  o: EncodeOptions,
): TE.TaskEither<Issue, Encoded> => {
  const samples = splitNames.flatMap((name) => data.samples[name])
  const texts = distinct(samples)
  return pipe(
    TE.Do,
    TE.bind('encoding', () =>
      pipe(
        TE.fromEither(encodingOf(plan, [...texts.values()], o.clock)),
        TE.mapLeft(([first]) => first),
      ),
    ),
    TE.bind('base', ({ encoding }) => openBase(plan.base, encoding.compiled.program)),
    TE.bind('weights', ({ base, encoding }) => weightsOf(base, encoding.compiled.program)),
    TE.bind('file', ({ encoding, weights }) =>
      TE.right(path.join(o.cacheFolder, fileName(plan, encoding, backend.name, weights))),
    ),
    TE.bind('had', ({ file }) => readVectors(file)),
    TE.bind('begun', () => TE.right(o.clock())),
    TE.bind('now', ({ encoding, base, had }) =>
      computed(
        backend,
        base,
        encoding,
        plan.config.random_seed,
        [...texts].flatMap(([key, s]) => (had.of.has(key) ? [] : [s])),
        o,
      ),
    ),
    TE.bind('all', ({ had, now }) => TE.right(merged(had, now))),
    TE.chainFirst(({ file, now, all }) =>
      now.vectors.size === 0 ? TE.right(undefined) : writeVectors(file, all),
    ),
    TE.map(({ all, now, weights, file, begun }) => ({
      vectors: new Map(samples.map((s) => [s.row, all.of.get(keyOfSample(s))!])),
      weights,
      rows: samples.length,
      computed: now.vectors.size,
      seconds: now.vectors.size === 0 ? 0 : (o.clock() - begun) / 1000,
      secondsPerRow: all.secondsPerRow,
      file,
    })),
  )
}
