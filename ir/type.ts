/** Tensor types: a dtype and a static shape. `nf4/64/256` is NF4 with a scale per 64 values, itself 8-bit in blocks of 256; `int8` has a scale per row. */
import * as E from 'fp-ts/lib/Either.js'

export type Float = 'f32' | 'f16' | 'bf16'
export type Plain = Float | 'i32' | 'i8' | 'u8' | 'bool'
/** 4-bit NormalFloat: `nf4/<block>` with f32 scales, `nf4/<block>/<nested>` with double-quantized ones. */
export type FourBit = `nf4/${number}` | `nf4/${number}/${number}`
/** `int8`: 8-bit integers with an f32 scale for each row. */
export type Encoded = FourBit | 'int8'
export type DType = Plain | Encoded

export interface TensorType {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
}

/** What a typing rule answers: the result types, or why the operands do not fit. */
export type Typing = E.Either<string, ReadonlyArray<TensorType>>

const plainBytes: { readonly [K in Plain]: number } = {
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
  i8: 1,
  u8: 1,
  bool: 1,
}

export const tensor = (dtype: DType, ...shape: ReadonlyArray<number>): TensorType => ({
  dtype,
  shape,
})
export const scalar = (dtype: DType): TensorType => ({ dtype, shape: [] })
export const like = (t: TensorType, dtype: DType): TensorType => ({ dtype, shape: t.shape })

/** Number of elements. */
export const size = (t: TensorType): number => t.shape.reduce((a, b) => a * b, 1)
export const show = (t: TensorType): string => `${t.dtype}[${t.shape.join(', ')}]`
export const equals = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && sameShape(a, b)
export const sameShape = (a: TensorType, b: TensorType): boolean =>
  a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])

export const isFloat = (d: DType): d is Float => d === 'f32' || d === 'f16' || d === 'bf16'
export const isFourBit = (d: DType): d is FourBit => d.startsWith('nf4/')
export const isEncoded = (d: DType): d is Encoded => isFourBit(d) || d === 'int8'
export const isPlain = (d: DType): d is Plain => d in plainBytes

export const ok = (...types: ReadonlyArray<TensorType>): Typing => E.right(types)
export const fail = (why: string): Typing => E.left(why)

/** Block sizes of a 4-bit dtype; `nested` is 0 when the scales are plain f32. */
export const blocks = (d: FourBit): { readonly block: number; readonly nested: number } => {
  const [, block, nested] = d.split('/')
  return { block: Number(block), nested: Number(nested ?? 0) }
}

/** One contiguous array inside the storage of a tensor. */
export interface Part {
  readonly name: 'values' | 'codes' | 'scales' | 'nested' | 'offset'
  readonly dtype: Plain
  readonly count: number
  /** Byte offset from the start of the tensor, a multiple of 4. */
  readonly at: number
}

const place = (parts: ReadonlyArray<Omit<Part, 'at'>>): ReadonlyArray<Part> => {
  let at = 0
  return parts.map((p) => {
    const placed = { ...p, at }
    at += Math.ceil((p.count * plainBytes[p.dtype]) / 4) * 4
    return placed
  })
}

/** Rows of a matrix, and how many values each has. */
export const rowsOf = (t: TensorType): { readonly rows: number; readonly width: number } => {
  const width = t.shape.at(-1) ?? 1
  return { rows: width === 0 ? 0 : size(t) / width, width }
}

/** How a tensor lies in memory. NF4: two codes a byte, then scales, then (double) the scales' scales and mean. int8: a code a byte, then scales. */
export const parts = (t: TensorType): ReadonlyArray<Part> => {
  const n = size(t)
  if (!isEncoded(t.dtype)) return place([{ name: 'values', dtype: t.dtype, count: n }])
  if (t.dtype === 'int8')
    return place([
      { name: 'codes', dtype: 'i8', count: n },
      { name: 'scales', dtype: 'f32', count: rowsOf(t).rows },
    ])
  const { block, nested } = blocks(t.dtype)
  const scales = Math.ceil(n / block)
  const codes = { name: 'codes', dtype: 'u8', count: Math.ceil(n / 2) } as const
  return nested === 0
    ? place([codes, { name: 'scales', dtype: 'f32', count: scales }])
    : place([
        codes,
        { name: 'scales', dtype: 'u8', count: scales },
        { name: 'nested', dtype: 'f32', count: Math.ceil(scales / nested) },
        { name: 'offset', dtype: 'f32', count: 1 },
      ])
}

export const partBytes = (p: Part): number => p.count * plainBytes[p.dtype]

/** Bytes a tensor occupies. */
export const bytes = (t: TensorType): number => {
  if (!isEncoded(t.dtype)) return size(t) * plainBytes[t.dtype]
  const last = parts(t).at(-1)
  return last === undefined ? 0 : last.at + partBytes(last)
}

const pattern = /^(f32|f16|bf16|i32|i8|u8|bool|int8|nf4\/[1-9]\d*(?:\/[1-9]\d*)?)\[([\d, ]*)\]$/

/** Reads what `show` writes. */
export const parseType = (text: string): E.Either<string, TensorType> => {
  const m = pattern.exec(text.trim())
  if (m === null) return E.left(`"${text.trim()}" is not a tensor type such as f32[2, 3]`)
  const inner = (m[2] ?? '').trim()
  const shape = inner === '' ? [] : inner.split(',').map((d) => Number(d.trim()))
  return shape.every((d) => Number.isSafeInteger(d) && d >= 0)
    ? E.right({ dtype: m[1] as DType, shape })
    : E.left(`"${text.trim()}" has a bad dimension`)
}
