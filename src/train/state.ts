/** The state a run starts from: every tensor made by its recipe, the base read one tensor at a time. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { materialize, type Source } from '../../backends/materialize.ts'
import type { Program, Recipe, State } from '../../ir/graph.ts'
import { scalesOf } from '../../ir/nf4.ts'
import { isEncoded, type DType } from '../../ir/type.ts'
import { editDistance } from '../config/nearest.ts'
import { issue, type Issue } from '../issue.ts'
import { fetching, type Base } from '../models/base.ts'
import { HEAD } from '../models/head.ts'
import type { Plan } from '../plan/plan.ts'
import { toF32 } from '../tensors/convert.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { finiteValues, roundedBytes } from '../tensors/finite.ts'
import { byBytes } from '../tensors/layout.ts'
import { openFolder, type Checkpoint, type TensorEntry } from '../tensors/reader.ts'
import { sumOf, type Sum } from '../tensors/sums.ts'
import { call } from './problem.ts'

const keyOf = (r: Recipe): string | null =>
  r._tag === 'load' ? r.key : r._tag === 'nf4' ? keyOf(r.of) : null

/** Saved by old versions of transformers; computed anew. */
const recomputed = /\.rotary_emb\.inv_freq$/
/** What quantizing libraries put beside a weight. */
const quantized = /\.(absmax|quant_map|quant_state\..*|SCB|qweight|qzeros|scales|g_idx)$/

const closest = (key: string, names: ReadonlyArray<string>): string | undefined =>
  names
    .map((name) => ({ name, distance: editDistance(key, name) }))
    .reduce<{ readonly name?: string; readonly distance: number }>(
      (best, x) => (x.distance < best.distance ? x : best),
      { distance: Infinity },
    ).name

const missingHint = (key: string, names: ReadonlyArray<string>): string => {
  if (key === HEAD)
    return 'if the model shares it with its embedding, set "tie_word_embeddings": true in its config.json'
  if (names.includes(key.replace(/^model\./, '')))
    return 'its tensors lack the prefix `model.`: it was saved from the bare model; save the whole AutoModelForCausalLM'
  const near = closest(key, names)
  return near === undefined ? 'the files hold no tensor at all' : `the nearest is ${near}`
}

const missing = (base: Checkpoint, key: string): Issue =>
  issue(`the base model has no tensor ${key}`, {
    file: base.folder,
    path: key,
    expected: 'every tensor that its config.json describes',
    hint: missingHint(key, [...base.tensors.keys()]),
  })

const misshapen = (entry: TensorEntry, shape: ReadonlyArray<number>): Issue =>
  issue(`the tensor ${entry.name} has the shape [${entry.shape.join(', ')}]`, {
    file: entry.file,
    path: entry.name,
    expected: `[${shape.join(', ')}], as the model's config.json says`,
    hint: 'config.json and weights belong to different models',
  })

const sameShape = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/** f32 values of a base's tensors. Left: it is missing, has another shape, or holds no floats, or one that is not finite. */
export const sourceOf =
  (base: Checkpoint): Source<Issue> =>
  (key, shape) => {
    const entry = base.tensors.get(key)
    if (entry === undefined) return TE.left(missing(base, key))
    if (!sameShape(entry.shape, shape)) return TE.left(misshapen(entry, shape))
    return pipe(
      base.read(key),
      TE.chainEitherK((bytes) =>
        E.mapLeft((i: Issue): Issue => ({ file: entry.file, path: key, ...i }))(
          pipe(
            toF32(entry.dtype, bytes),
            E.chain((values) => finiteValues(entry, values)),
          ),
        ),
      ),
    )
  }

/** A tensor that the program does not read would be silently left out of the model. */
const unread = (base: Checkpoint, program: Program): Issue | null => {
  const read = new Set(program.state.map((s) => keyOf(s.recipe)))
  const odd = [...base.tensors.keys()].filter((n) => !read.has(n) && !recomputed.test(n))
  const packed = odd.find((n) => quantized.test(n))
  if (packed !== undefined)
    return issue(`the base model is quantized already: it holds ${packed}`, {
      file: base.folder,
      path: packed,
      hint: 'name the folder of the original 16-bit model; it is quantized while it is read',
    })
  // A head that the program has no place for equals the embedding: `findBase` has compared them.
  const extra = odd.find((n) => n !== HEAD && !read.has(`model.${n}`))
  return extra === undefined
    ? null
    : issue(`the base model holds ${extra}, for which its config.json has no place`, {
        file: base.tensors.get(extra)?.file ?? base.folder,
        path: extra,
        hint: 'config.json and weights belong to different models',
      })
}

/** The base's weights, checked against the program. Left also where only the architecture is known. */
export const openBase = (base: Base, program: Program): TE.TaskEither<Issue, Checkpoint> =>
  base.folder === null
    ? TE.left(
        issue(
          `only the architecture of ${base.name} is known here: there are no weights to train`,
          {
            path: 'base_model',
            expected: 'a folder with config.json, tokenizer.json and safetensors files',
            hint: `${fetching(base.name)}name its folder as base_model`,
          },
        ),
      )
    : pipe(
        openFolder(base.folder),
        TE.chain((checkpoint) => {
          const why = unread(checkpoint, program)
          return why === null ? TE.right(checkpoint) : TE.left(why)
        }),
      )

/** Whether the headers of the base's files promise every tensor that the program loads; no weight is read. */
export const promised = (base: Base, program: Program): TE.TaskEither<Issue, void> =>
  pipe(
    openBase(base, program),
    TE.chainEitherK((checkpoint) =>
      pipe(
        program.state,
        E.traverseArray((s): E.Either<Issue, unknown> => {
          const key = keyOf(s.recipe)
          if (key === null) return E.right(null)
          const entry = checkpoint.tensors.get(key)
          if (entry === undefined) return E.left(missing(checkpoint, key))
          return sameShape(entry.shape, s.type.shape)
            ? pipe(
                toF32(entry.dtype, new Uint8Array()),
                E.mapLeft((i): Issue => ({ file: entry.file, path: key, ...i })),
              )
            : E.left(misshapen(entry, s.type.shape))
        }),
        E.map(() => undefined),
      ),
    ),
  )

/** A base that keeps the checksum of each tensor it gives. */
const watched = (base: Checkpoint): Checkpoint & { readonly sums: Map<string, Sum> } => {
  const sums = new Map<string, Sum>()
  return {
    ...base,
    sums,
    read: (name) =>
      pipe(
        base.read(name),
        TE.map((bytes) => {
          sums.set(name, sumOf(bytes))
          return bytes
        }),
      ),
  }
}

const narrow: Readonly<Partial<Record<DType, Dtype>>> = { f16: 'F16', bf16: 'BF16' }

/** The stored bytes of a state tensor. Left: finite values that its type cannot hold. */
const holds = (s: State, stored: Uint8Array): E.Either<Issue, Uint8Array> => {
  const { type } = s
  const dtype = narrow[type.dtype]
  if (dtype !== undefined) {
    const hint = 'set compiler.compute_dtype to bfloat16 or float32, which hold such values'
    return roundedBytes({ name: s.name, shape: type.shape }, dtype, stored, hint)
  }
  if (!isEncoded(type.dtype)) return E.right(stored)
  const block = scalesOf(type, stored).findIndex((scale) => !Number.isFinite(scale))
  return block < 0
    ? E.right(stored)
    : E.left(
        issue(`${s.name} holds values too large to be quantized, in block ${block} of its scales`, {
          path: s.name,
          hint: 'leave quantization out, or look at the weights: no trained model has such values',
        }),
      )
}

/**
 * Fills a session from an opened base; gives the SHA-256 of all tensors of the base that the model consists of: the
 * same for every program of the model, and however they are cut into files.
 */
export const initialize =
  (session: Session, program: Program, base: Checkpoint, seed: number) =>
  async (): Promise<E.Either<Issue, Sum>> => {
    const read = watched(base)
    const source = sourceOf(read)
    // One tensor at a time: a traversal would hold every one until the end.
    for (const s of program.state) {
      const made = await pipe(
        materialize(s, source, seed),
        TE.chainEitherK((stored) => holds(s, stored)),
      )()
      if (E.isLeft(made)) return made
      const written = await call(session.write(s.name, made.right))()
      if (E.isLeft(written)) return written
    }
    return E.right(sumOf(JSON.stringify([...read.sums].toSorted(([a], [b]) => byBytes(a, b)))))
  }

/**
 * `initialize` for a session of the plan's program.
 * Left: a base without weights, or weights that do not fit its config.json.
 */
export const initializePlan = (
  { base, program, config }: Pick<Plan, 'base' | 'program' | 'config'>,
  session: Session,
): TE.TaskEither<Issue, Sum> =>
  pipe(
    openBase(base, program),
    TE.chain((checkpoint) => initialize(session, program, checkpoint, config.random_seed)),
  )
