/** Weights that bitsandbytes has quantized, as transformers saves them: the same codes and scales as ours in several tensors, moved as they are. */
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import { dynamicMap } from '../../ir/dynamic-map.ts'
import { codebook } from '../../ir/nf4.ts'
import {
  blocks,
  bytes,
  partBytes,
  parts,
  show,
  type FourBit,
  type Part,
  type TensorType,
} from '../../ir/type.ts'
import { issue, type Issue } from '../issue.ts'
import type { Dtype } from './dtype.ts'
import { finiteBytes } from './finite.ts'
import { parseJson } from './json.ts'
import type { Checkpoint, TensorEntry } from './reader.ts'

/** The tensor of JSON that says how a weight is quantized; only quantized weights have one. */
export const stateName = (key: string): string => `${key}.quant_state.bitsandbytes__nf4`

export const isPacked = (base: Checkpoint, key: string): boolean => base.tensors.has(stateName(key))

const names = (key: string) => ({
  codes: key,
  absmax: `${key}.absmax`,
  map: `${key}.quant_map`,
  nested: `${key}.nested_absmax`,
  nestedMap: `${key}.nested_quant_map`,
  state: stateName(key),
})

/** All tensors that make up one weight. */
export const namesOf = (key: string): ReadonlyArray<string> => Object.values(names(key))

const codec = t.intersection([
  t.type({ quant_type: t.literal('nf4'), blocksize: t.number, shape: t.array(t.number) }),
  t.partial({ nested_blocksize: t.number, nested_dtype: t.string, nested_offset: t.number }),
])
type Packing = t.TypeOf<typeof codec>

const ORIGINAL = 'name the folder of the original 16-bit model; it is quantized while it is read'
const DAMAGED = 'the file is damaged: download or export it again'

const parse = (entry: TensorEntry, stored: Uint8Array): E.Either<Issue, Packing> =>
  pipe(
    E.tryCatch(
      () => new TextDecoder('utf-8', { fatal: true }).decode(stored),
      () => issue('it is not UTF-8'),
    ),
    E.chain((text) => parseJson(text, { maxDepth: 3, onlyCounts: false })),
    E.chain((json) => E.mapLeft(() => issue('keys are missing or odd'))(codec.decode(json))),
    E.mapLeft((i) =>
      issue(`the description of a quantized weight cannot be read: ${i.message}`, {
        file: entry.file,
        path: entry.name,
        expected: 'quant_type, blocksize and shape, as bitsandbytes writes them',
        hint: DAMAGED,
      }),
    ),
  )

const differs = (entry: TensorEntry, what: string, expected: string, hint: string): Issue =>
  issue(what, { file: entry.file, path: entry.name, expected, hint })

/** Left: the weight is packed otherwise than the type wants it. */
const fitting = (entry: TensorEntry, type: TensorType, p: Packing): E.Either<Issue, Packing> => {
  const { block, nested } = blocks(type.dtype as FourBit)
  const has = `${p.blocksize}${p.nested_blocksize === undefined ? '' : `/${p.nested_blocksize}`}`
  const wants = `${block}${nested === 0 ? '' : `/${nested}`}`
  const odd = (what: string, expected: string, hint: string): E.Either<Issue, never> =>
    E.left(differs(entry, what, expected, hint))
  if (p.shape.join() !== type.shape.join())
    return odd(
      `the weight has the shape [${p.shape.join(', ')}]`,
      `[${type.shape.join(', ')}], as the model's config.json says`,
      'config.json and weights belong to different models',
    )
  if (has !== wants)
    return odd(`the weight is quantized in blocks of ${has}`, `blocks of ${wants}`, ORIGINAL)
  const mean = Math.fround(p.nested_offset ?? NaN)
  return nested > 0 && (p.nested_dtype !== 'float32' || !Number.isFinite(mean))
    ? odd(
        'the mean of its scales cannot be used',
        'nested_dtype float32 and a finite nested_offset',
        DAMAGED,
      )
    : E.right(p)
}

interface Piece {
  readonly part: Part
  readonly entry: TensorEntry
}

/** Where the parts of an encoded tensor lie; the mean of its scales lies in the JSON. Left: one is missing or has another length. */
const piecesOf = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): E.Either<Issue, ReadonlyArray<Piece>> => {
  const n = names(key)
  const from: Partial<Readonly<Record<Part['name'], readonly [string, Dtype | null]>>> = {
    // Its storage may be of any dtype: the bytes are the same.
    codes: [n.codes, null],
    scales: [n.absmax, blocks(type.dtype as FourBit).nested === 0 ? 'F32' : 'U8'],
    nested: [n.nested, 'F32'],
  }
  return pipe(
    parts(type).flatMap((part) =>
      from[part.name] === undefined ? [] : [{ part, as: from[part.name]! }],
    ),
    E.traverseArray(({ part, as: [name, dtype] }): E.Either<Issue, Piece> => {
      const entry = base.tensors.get(name)
      const wanted = `${dtype === null ? '' : `${dtype}, `}${partBytes(part)} bytes, for ${show(type)}`
      if (entry === undefined)
        return E.left(
          issue(`the quantized weight ${key} has no ${name}`, {
            file: base.folder,
            path: name,
            expected: wanted,
            hint: 'the download or export did not finish: do it again',
          }),
        )
      return entry.end - entry.begin === partBytes(part) &&
        (dtype === null || entry.dtype === dtype)
        ? E.right({ part, entry })
        : E.left(
            differs(
              entry,
              `${name} is ${entry.dtype} of ${entry.end - entry.begin} bytes`,
              wanted,
              ORIGINAL,
            ),
          )
    }),
  )
}

const same = (a: Float32Array, b: Uint8Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(b)

/** Left: the tables that codes stand for are not those of NF4. */
const tables = (base: Checkpoint, key: string, nested: boolean): TE.TaskEither<Issue, void> => {
  const n = names(key)
  const all = [[n.map, codebook] as const, ...(nested ? [[n.nestedMap, dynamicMap] as const] : [])]
  return pipe(
    all,
    TE.traverseSeqArray(([name, table]) =>
      pipe(
        base.read(name),
        TE.filterOrElse(
          (stored) => same(table, stored),
          () =>
            issue(`${name} is another table than that of bitsandbytes`, {
              file: base.folder,
              path: name,
              hint: ORIGINAL,
            }),
        ),
      ),
    ),
    TE.map(() => undefined),
  )
}

/** Whether the headers promise a weight in the parts that its type has; nothing else is read. */
export const promisesPacked = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): E.Either<Issue, unknown> => piecesOf(base, key, type)

/** A packed weight in the layout of an encoded type, bit for bit. */
export const packedBytes = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    TE.Do,
    TE.bind('pieces', () => TE.fromEither(piecesOf(base, key, type))),
    TE.bind('packing', () =>
      pipe(
        base.read(stateName(key)),
        TE.chainEitherK((stored) => parse(base.tensors.get(stateName(key))!, stored)),
        TE.chainEitherK((p) => fitting(base.tensors.get(stateName(key))!, type, p)),
      ),
    ),
    TE.chainFirst(() => tables(base, key, blocks(type.dtype as FourBit).nested > 0)),
    TE.chain(({ pieces, packing }) => {
      const out = new Uint8Array(bytes(type))
      const mean = parts(type).find((p) => p.name === 'offset')
      if (mean !== undefined) new Float32Array(out.buffer, mean.at, 1)[0] = packing.nested_offset!
      return pipe(
        pieces,
        TE.traverseSeqArray(({ part, entry }) =>
          pipe(
            base.read(entry.name),
            TE.chainEitherK((stored) =>
              finiteBytes(entry, part.dtype === 'f32' ? 'F32' : 'U8', stored),
            ),
            TE.map((stored) => out.set(stored, part.at)),
          ),
        ),
        TE.map(() => out),
      )
    }),
  )
