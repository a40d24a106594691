/** Cards of NF4: decoding, and encoding on the device. Offsets of parts come from the layout of the tensor's type. */
import { blocks, isFourBit, parts, size, type Float, type TensorType } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  kernel,
  launch,
  matrix,
  maybe,
  nowhere,
  macros,
  u32,
  u64,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

export const encoding = (type: TensorType) => {
  if (!isFourBit(type.dtype)) throw new Error(`${type.dtype} is not a 4-bit type`)
  return blocks(type.dtype)
}
/** Byte offsets of the parts of an encoded tensor. */
export const places = (type: TensorType, offset: Place) => {
  const part = new Map(parts(type).map((p) => [p.name, offset + p.at]))
  const scales = part.get('scales')
  if (scales === undefined) throw new Error(`${type.dtype} has no scales`)
  return {
    codes: offset,
    scales,
    nested: part.get('nested') ?? null,
    mean: part.get('offset') ?? null,
  }
}
export const encodedBytes = (type: TensorType): number => {
  const { block, nested } = encoding(type)
  const n = size(type)
  return n / 2 + (nested === 0 ? 4 : 1) * divide(n, block)
}
const widthOf = (type: TensorType): number => type.shape.at(-1) ?? 1

export interface Decode {
  /** The encoded type; its last dimension is the width of a row of `out`. */
  readonly type: TensorType
  readonly offset: Place
  readonly out: Rows
}

/** Whether the kernel of whole nested groups takes this matrix. */
export const fastDecode = ({ type, offset, out }: Decode, to: Float): boolean => {
  const { block, nested } = encoding(type)
  return (
    block === 64 &&
    nested === 256 &&
    widthOf(type) % 8 === 0 &&
    size(type) <= 2 ** 32 - 16384 &&
    offset % 4 === 0 &&
    out.offset % 16 === 0 &&
    (out.ld * elementBytes[to]) % 16 === 0
  )
}

const decodeOne = (j: Decode, to: Float): KernelLaunch => {
  const { block, nested } = encoding(j.type)
  const [p, n] = [places(j.type, j.offset), size(j.type)]
  return launch(
    kernel('nf4.cu', 'nf4_decode', macros('f32', to)),
    [divide(n, 2048)],
    256,
    [
      at(p.codes),
      at(p.scales),
      maybe(p.nested),
      maybe(p.mean),
      ...matrix(j.out),
      ...u64(n),
      u32(widthOf(j.type)),
      u32(block),
      u32(nested),
    ],
    encodedBytes(j.type) + n * elementBytes[to],
    n,
  )
}

const absent: ReadonlyArray<Arg> = [
  nowhere,
  nowhere,
  nowhere,
  nowhere,
  nowhere,
  u32(0),
  u32(8),
  u32(0),
]
const job = (j: Decode): ReadonlyArray<Arg> => {
  const p = places(j.type, j.offset)
  return [
    at(p.codes),
    at(p.scales),
    maybe(p.nested),
    maybe(p.mean),
    ...matrix(j.out),
    u32(widthOf(j.type)),
    u32(size(j.type)),
  ]
}
const decodeFour = (jobs: ReadonlyArray<Decode>, to: Float): KernelLaunch => {
  const total = (f: (j: Decode) => number) => jobs.reduce((a, j) => a + f(j), 0)
  return launch(
    kernel('nf4.cu', 'nf4_decode_groups', macros('f32', to)),
    [total((j) => divide(size(j.type), 16384))],
    256,
    [0, 1, 2, 3].flatMap((i) => (jobs[i] === undefined ? absent : job(jobs[i]))),
    total((j) => encodedBytes(j.type) + size(j.type) * elementBytes[to]),
    total((j) => size(j.type)),
  )
}

/** Matrices decoded to `to`: four a launch where the fast kernel takes them, else one by one. */
export const dequantize = (jobs: ReadonlyArray<Decode>, to: Float): ReadonlyArray<KernelLaunch> => {
  const fast = jobs.filter((j) => fastDecode(j, to))
  return [
    ...Array.from({ length: divide(fast.length, 4) }, (_, i) =>
      decodeFour(fast.slice(4 * i, 4 * i + 4), to),
    ),
    ...jobs.filter((j) => !fastDecode(j, to)).map((j) => decodeOne(j, to)),
  ]
}

/** The maxima of blocks before they are quantized themselves; plain scales need none. */
export const quantizeWorkspaceBytes = (type: TensorType): number => {
  const { block, nested } = encoding(type)
  return nested === 0 ? 0 : 4 * divide(size(type), block)
}

interface Encode {
  readonly type: TensorType
  /** Of the encoded tensor. */
  readonly offset: Place
  readonly workspace: Place
  readonly from: Float
}
interface EncodePiece extends Encode {
  /** Values of `from` without gaps. */
  readonly x: Place
  /** Which values of the tensor they are; `first` begins a block. */
  readonly first: number
  readonly count: number
}
const encoder =
  (from: Float) =>
  (name: string, grid: number, threads: number, args: ReadonlyArray<Arg>, bytes: number, n = 0) =>
    launch(kernel('nf4.cu', name, macros(from, 'f32')), [grid], threads, args, bytes, n)
const maximaOf = (o: Encode): Place =>
  encoding(o.type).nested === 0 ? places(o.type, o.offset).scales : o.workspace

/** Maxima and codes of a run of whole blocks; the last may be cut by the tensor's end. */
export const quantizePiece = (o: EncodePiece): ReadonlyArray<KernelLaunch> => {
  const { block } = encoding(o.type)
  const own = encoder(o.from)
  const n = o.count
  const maxima = maximaOf(o) + 4 * (o.first / block)
  const codes = places(o.type, o.offset).codes + o.first / 2
  const values = n * elementBytes[o.from]
  return [
    own(
      'nf4_maxima',
      divide(n, 8 * block),
      256,
      [at(o.x), at(maxima), ...u64(n), u32(block)],
      values,
      n,
    ),
    own(
      'nf4_codes',
      divide(n, 2048),
      256,
      [at(o.x), at(maxima), at(codes), ...u64(n), u32(block)],
      values + n / 2,
      n,
    ),
  ]
}

/** After all pieces: the maxima quantized themselves; plain scales are what the maxima are. */
export const quantizeScales = (o: Encode): ReadonlyArray<KernelLaunch> => {
  const { block, nested } = encoding(o.type)
  if (nested === 0) return []
  const [p, scales] = [places(o.type, o.offset), divide(size(o.type), block)]
  const [own, maxima] = [encoder(o.from), maximaOf(o)]
  return [
    own('nf4_mean', 1, 1024, [at(maxima), maybe(p.mean), u32(scales)], 4 * scales, scales),
    own(
      'nf4_nested',
      divide(scales, nested),
      256,
      [at(maxima), maybe(p.mean), at(p.scales), maybe(p.nested), u32(scales), u32(nested)],
      5 * scales,
      scales,
    ),
  ]
}

/** Encodes values of `from` without gaps at `x` into the layout of `type` at `offset`. */
export const quantize = (o: Encode & { readonly x: Place }): ReadonlyArray<KernelLaunch> => [
  ...quantizePiece({ ...o, first: 0, count: size(o.type) }),
  ...quantizeScales(o),
]
