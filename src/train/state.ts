/** A base's tensors as a program asks for them: all there, of the right shape, finite, and none left over. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Source } from '../../backends/materialize.ts'
import { encodes, type Program, type Recipe } from '../../ir/graph.ts'
import { editDistance } from '../config/nearest.ts'
import { issue, type Issue } from '../issue.ts'
import { fetching, type Base } from '../models/base.ts'
import { HEAD } from '../models/head.ts'
import type { Packed } from '../models/packed.ts'
import { isPacked, namesOf, promisesPacked } from '../tensors/packed.ts'
import { toF32 } from '../tensors/convert.ts'
import { finiteValues } from '../tensors/finite.ts'
import { openFolder, type Checkpoint, type TensorEntry } from '../tensors/reader.ts'

/** The tensor of the base that a recipe starts from. */
export const keyOf = (r: Recipe): string | null =>
  r._tag === 'load'
    ? r.key
    : encodes(r)
      ? keyOf(r.of)
      : r._tag === 'split' && r.part === 'W'
        ? r.of
        : null

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

export const sameShape = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
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
const unread = (base: Checkpoint, program: Program, packed: Packed | null): Issue | null => {
  const read = new Set(
    program.state.flatMap((s) => {
      const key = keyOf(s.recipe)
      return key === null ? [] : packed !== null && isPacked(base, key) ? namesOf(base, key) : [key]
    }),
  )
  const odd = [...base.tensors.keys()].filter((n) => !read.has(n) && !recomputed.test(n))
  const foreign = odd.find((n) => quantized.test(n))
  if (foreign !== undefined)
    return issue(`the base model is quantized already: it holds ${foreign}`, {
      file: base.folder,
      path: foreign,
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
          const why = unread(checkpoint, program, base.packed)
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
          if (encodes(s.recipe) && isPacked(checkpoint, key))
            return promisesPacked(checkpoint, key, s.type)
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
