/** First values of state: follows a recipe, touching one tensor at a time. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { added, factorsOf, type Factors } from '../ir/factors.ts'
import { encodes, type Recipe, type State } from '../ir/graph.ts'
import { kaiming, normal, orthogonal, rowLengths } from '../ir/initial.ts'
import { quantize, roundTrip } from '../ir/encoding.ts'
import { bytes, isEncoded, size, type TensorType } from '../ir/type.ts'
import { encode } from './bytes.ts'

/** Gives the f32 values of a checkpoint tensor of the expected shape. */
export type Source<Err> = (
  key: string,
  shape: ReadonlyArray<number>,
) => TE.TaskEither<Err, Float32Array>

type SplitOf = Extract<Recipe, { readonly _tag: 'split' }>

/** Three states are made of one splitting, which is the long part: kept as long as its source is. */
const known = new WeakMap<object, Map<string, Factors>>()

const factorsFrom = (source: object, recipe: SplitOf, w: Float32Array): Factors => {
  const { by, of, shape, r, scale } = recipe
  const here = known.get(source) ?? new Map<string, Factors>()
  known.set(source, here)
  const key = `${by} ${r} ${scale} ${of}`
  const factors = here.get(key) ?? factorsOf(by, w, shape, r, scale, of)
  here.set(key, factors)
  return factors
}

/** Values as a state tensor of this type gives them back. */
const throughCodes = (type: TensorType, x: Float32Array): Float32Array =>
  isEncoded(type.dtype) ? roundTrip(type, x) : x

const values = <Err>(
  name: string,
  type: TensorType,
  recipe: Recipe,
  source: Source<Err>,
  seed: number,
): TE.TaskEither<Err, Float32Array> => {
  switch (recipe._tag) {
    case 'load':
      return source(recipe.key, type.shape)
    case 'nf4':
    case 'int8':
      return values(name, type, recipe.of, source, seed)
    case 'fill':
      return TE.right(new Float32Array(size(type)).fill(recipe.value))
    case 'kaiming':
      return TE.right(kaiming(name, type, seed))
    case 'normal':
      return TE.right(normal(name, type, recipe.deviation, seed))
    case 'split':
      return pipe(
        source(recipe.of, recipe.shape),
        TE.map((w) => {
          const factors = factorsFrom(source, recipe, w)
          const { part, r, scale } = recipe
          if (part === 'W') return added(w, factors, r, -scale)
          return part === 'A' ? factors.a : factors.b
        }),
      )
    case 'norms':
      return pipe(
        values(name, recipe.type, recipe.of, source, seed),
        TE.map((x) => rowLengths(throughCodes(recipe.type, x), recipe.type.shape[1]!)),
      )
    case 'orthogonal':
      return TE.right(orthogonal(recipe.of, recipe.part, type, seed))
  }
}

/** One element over and over: a cache of gigabytes is never an array of numbers. */
const filled = (type: TensorType, value: number): Uint8Array => {
  const one = encode({ ...type, shape: [] }, [value])
  return new Uint8Array(Buffer.alloc(bytes(type), one).buffer, 0, bytes(type))
}

/** The bytes of a state tensor before the first step, in the layout of its type. */
export const materialize = <Err>(
  { name, type, recipe }: State,
  source: Source<Err>,
  seed: number,
): TE.TaskEither<Err, Uint8Array> =>
  recipe._tag === 'fill'
    ? TE.fromIO(() => filled(type, recipe.value))
    : pipe(
        values(name, type, recipe, source, seed),
        TE.map((x) => {
          if (!encodes(recipe)) return encode(type, x)
          const out = new Uint8Array(bytes(type))
          quantize(x, type, out)
          return out
        }),
      )

/** A source for programs that load nothing. */
export const noSource: Source<string> = (key) => async () => E.left(`nothing to load ${key} from`)
