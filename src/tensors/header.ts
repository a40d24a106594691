/** The header of a safetensors file: every rule of the format, from bytes to a table of tensors. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import { byteLength, type Dtype, dtypes, isDtype, type Shape } from './dtype.ts'
import { isObject, parseJson } from './json.ts'

/** One tensor of a file; `begin` and `end` are byte positions in the file. */
export interface HeaderTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: Shape
  readonly begin: number
  readonly end: number
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>
  /** In the order of their data. */
  readonly tensors: ReadonlyArray<HeaderTensor>
}

/** Bytes of the length that stands before the JSON. */
export const lengthBytes = 8
/** The format's own bound on the JSON. */
export const maxHeaderBytes = 100_000_000
/** The key that is not a tensor. */
export const metadataKey = '__metadata__'

const damaged = 'the file is damaged or not a safetensors file: download or export it again'

const bad = (message: string, more: Omit<Issue, 'message'> = {}): E.Either<Issue, never> =>
  E.left(issue(message, { hint: damaged, ...more }))

/** A lone half of a surrogate pair has no UTF-8 form, so such a name could not be written again. */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

/** Where the header ends and the data begins, from the first 8 bytes of a file of `fileSize` bytes. */
export const headerEnd = (first: Uint8Array, fileSize: number): E.Either<Issue, number> => {
  if (first.length < lengthBytes || fileSize < lengthBytes)
    return bad(`the file has ${fileSize} bytes, too few for a safetensors header`)
  const view = new DataView(first.buffer, first.byteOffset, lengthBytes)
  const length = view.getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes))
    return bad(`the header says that it is ${length} bytes long`, {
      expected: `at most ${maxHeaderBytes}`,
    })
  const end = lengthBytes + Number(length)
  return end > fileSize
    ? bad(`the header says that it is ${length} bytes long, but the file ends before`, {
        expected: `at most ${fileSize - lengthBytes}`,
      })
    : E.right(end)
}

const decodeText = (bytes: Uint8Array): E.Either<Issue, string> => {
  if (bytes[0] !== 0x7b) return bad('the header does not begin with `{`')
  return E.tryCatch(
    () => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    () => issue('the header is not UTF-8', { hint: damaged }),
  )
}

const readMetadata = (value: unknown): E.Either<Issue, ReadonlyMap<string, string>> => {
  const where = { path: metadataKey, expected: 'an object of strings' }
  if (!isObject(value)) return bad('the metadata is not an object', where)
  const entries = Object.entries(value)
  const odd = entries.find(([, v]) => typeof v !== 'string')
  if (odd) return bad(`the metadata \`${odd[0]}\` is not a string`, where)
  return E.right(new Map(entries.map(([k, v]) => [k, String(v)])))
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

const isCounts = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.every(isCount)

const tensorKeys = ['dtype', 'shape', 'data_offsets']

const readTensor = (
  name: string,
  value: unknown,
  dataStart: number,
): E.Either<Issue, HeaderTensor> => {
  const wrong = (message: string, expected?: string): E.Either<Issue, never> =>
    bad(message, { path: name, ...(expected === undefined ? {} : { expected }) })
  if (!isWellFormed(name)) return wrong('a tensor name holds half a surrogate pair')
  if (!isObject(value)) return wrong('the entry is not an object', `{${tensorKeys.join(', ')}}`)
  // A key that this version does not know could change what the bytes mean.
  const stranger = Object.keys(value).find((key) => !tensorKeys.includes(key))
  if (stranger !== undefined)
    return wrong(`the entry has an unknown key \`${stranger}\``, tensorKeys.join(', '))
  const { dtype, shape, data_offsets: offsets } = value
  if (!isDtype(dtype))
    return wrong(`the dtype ${JSON.stringify(dtype)} is unknown`, dtypes.join(', '))
  if (!isCounts(shape)) return wrong('the shape is not a list of counts below 2^53')
  if (!isCounts(offsets) || offsets.length !== 2)
    return wrong('data_offsets is not a pair of counts below 2^53')
  const [begin = 0, end = 0] = offsets
  if (begin > end) return wrong(`the data ends at ${end}, before it begins at ${begin}`)
  const bytes = byteLength(dtype, shape)
  if (E.isLeft(bytes)) return wrong(`the tensor ${bytes.left}`)
  return bytes.right === end - begin
    ? E.right({ name, dtype, shape, begin: dataStart + begin, end: dataStart + end })
    : wrong(`${dtype} [${shape.join(', ')}] has ${end - begin} bytes`, `${bytes.right} bytes`)
}

/** The tensors sorted by their data, which must cover the rest of the file exactly once. */
const arrange = (
  tensors: ReadonlyArray<HeaderTensor>,
  dataStart: number,
  fileSize: number,
): E.Either<Issue, ReadonlyArray<HeaderTensor>> => {
  const sorted = tensors.toSorted((a, b) => a.begin - b.begin || a.end - b.end)
  let at = dataStart
  for (const { name, begin, end } of sorted) {
    if (begin > at)
      return bad(`${begin - at} bytes before the data belong to no tensor`, { path: name })
    if (begin < at) return bad('the data overlaps that of another tensor', { path: name })
    at = end
  }
  if (at > fileSize)
    return bad(`the file is cut off: it has ${fileSize} bytes`, { expected: `${at} bytes` })
  return at < fileSize
    ? bad(`${fileSize - at} bytes at the end of the file belong to no tensor`)
    : E.right(sorted)
}

const readEntries = (
  value: unknown,
  dataStart: number,
  fileSize: number,
): E.Either<Issue, Header> => {
  if (!isObject(value)) return bad('the header is not an object')
  const tensors: Array<HeaderTensor> = []
  let metadata: ReadonlyMap<string, string> = new Map()
  for (const [name, entry] of Object.entries(value)) {
    if (name === metadataKey) {
      const read = readMetadata(entry)
      if (E.isLeft(read)) return read
      metadata = read.right
    } else {
      const read = readTensor(name, entry, dataStart)
      if (E.isLeft(read)) return read
      tensors.push(read.right)
    }
  }
  return pipe(
    arrange(tensors, dataStart, fileSize),
    E.map((sorted) => ({ metadata, tensors: sorted })),
  )
}

/**
 * Reads `bytes`, the file's first bytes up to the end of its header or further, of a file of `fileSize` bytes.
 * Left: the first rule broken; `path` is the tensor.
 */
export const parseHeader = (bytes: Uint8Array, fileSize: number): E.Either<Issue, Header> =>
  pipe(
    headerEnd(bytes, fileSize),
    E.chain((end) =>
      pipe(
        end > bytes.length
          ? bad('the header is not here in full')
          : E.right(bytes.subarray(8, end)),
        E.chain(decodeText),
        E.chain((text) => parseJson(text, { maxDepth: 3, onlyCounts: true })),
        E.mapLeft((i) => ({ hint: damaged, ...i })),
        E.chain((value) => readEntries(value, end, fileSize)),
      ),
    ),
  )
