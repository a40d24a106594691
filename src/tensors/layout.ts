/** Where each tensor of a new safetensors file goes, and the header that says so. */
import * as E from 'fp-ts/lib/Either.js'
import { type Issue, issue } from '../issue.ts'
import { alignmentRank, byteLength, type Dtype, isDtype, type Shape } from './dtype.ts'
import { isWellFormed, lengthBytes, maxHeaderBytes, metadataKey } from './header.ts'

export interface TensorInfo {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: Shape
}

/** A tensor and the number of bytes that it takes. */
export type Sized<T extends TensorInfo> = T & { readonly bytes: number }

export type Metadata = Readonly<Record<string, string>>

/** The file's first bytes, and the tensors in the order in which their data follows. */
export interface Layout<T extends TensorInfo> {
  readonly header: Uint8Array
  readonly tensors: ReadonlyArray<Sized<T>>
}

const wrong = (message: string, path: string): E.Either<Issue, never> =>
  E.left(issue(message, { path }))

/** The tensors with their sizes. Left: a name or a shape that no file can hold. */
export const measure = <T extends TensorInfo>(
  tensors: ReadonlyArray<T>,
): E.Either<Issue, ReadonlyArray<Sized<T>>> => {
  const names = new Set<string>()
  const sized: Array<Sized<T>> = []
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor
    if (name === metadataKey) return wrong(`\`${metadataKey}\` cannot name a tensor`, name)
    if (!isWellFormed(name)) return wrong('a tensor name holds half a surrogate pair', name)
    if (names.has(name)) return wrong('two tensors have the same name', name)
    if (!isDtype(dtype)) return wrong(`the dtype ${String(dtype)} is unknown`, name)
    const bytes = byteLength(dtype, shape)
    if (E.isLeft(bytes)) return wrong(`the tensor ${bytes.left}`, name)
    names.add(name)
    sized.push({ ...tensor, bytes: bytes.right })
  }
  return E.right(sized)
}

/** Order of UTF-8 bytes, which is that of code points and not that of JavaScript's `<`. */
export const byBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b))

const rank = (tensor: TensorInfo): number => alignmentRank.get(tensor.dtype) ?? 0

const metadataText = (metadata: Metadata): ReadonlyArray<string> => {
  const pairs = Object.entries(metadata).toSorted(([a], [b]) => byBytes(a, b))
  const text = pairs.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')
  return pairs.length > 0 ? [`"${metadataKey}":{${text}}`] : []
}

const entryText = ({ name, dtype, shape, bytes }: Sized<TensorInfo>, begin: number): string =>
  `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":${JSON.stringify(shape)},` +
  `"data_offsets":[${begin},${begin + bytes}]}`

/** Length and JSON, padded with spaces so that the data begins at a multiple of 8. */
const frame = (json: string): Uint8Array => {
  const text = Buffer.from(json)
  const length = Math.ceil(text.length / lengthBytes) * lengthBytes
  const header = new Uint8Array(lengthBytes + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(text, lengthBytes)
  return header
}

/** The same layout for the same set of tensors: descending alignment, then name. */
export const layOut = <T extends TensorInfo>(
  tensors: ReadonlyArray<Sized<T>>,
  metadata: Metadata,
): E.Either<Issue, Layout<T>> => {
  const odd = Object.entries(metadata).find((pair) => !pair.every(isWellFormed))
  if (odd) return wrong(`the metadata \`${odd[0]}\` holds half a surrogate pair`, metadataKey)
  const sorted = tensors.toSorted((a, b) => rank(b) - rank(a) || byBytes(a.name, b.name))
  const parts = [...metadataText(metadata)]
  let at = 0
  for (const tensor of sorted) {
    parts.push(entryText(tensor, at))
    at += tensor.bytes
  }
  if (!Number.isSafeInteger(at)) return E.left(issue('the tensors have more than 2^53 bytes'))
  const header = frame(`{${parts.join(',')}}`)
  return header.length - lengthBytes > maxHeaderBytes
    ? E.left(
        issue(`the header would have ${header.length - lengthBytes} bytes`, {
          expected: `at most ${maxHeaderBytes}`,
          hint: 'write fewer tensors to one file',
        }),
      )
    : E.right({ header, tensors: sorted })
}
