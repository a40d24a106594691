/** A slow second reading of the safetensors format, for tests: it shares nothing with the reader it judges. */
export interface OracleTensor {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

type Json = string | bigint | null | boolean | ReadonlyArray<Json> | Pairs
type Pairs = { readonly pairs: ReadonlyArray<readonly [string, Json]> }

/** Bits per element, from the format's description. */
export const bitsOf: Readonly<Record<string, number>> = Object.fromEntries(
  [
    [4, 'F4'],
    [6, 'F6_E2M3 F6_E3M2'],
    [8, 'BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ'],
    [16, 'I16 U16 F16 BF16'],
    [32, 'I32 U32 F32'],
    [64, 'C64 F64 I64 U64'],
  ].flatMap(([bits, names]) =>
    String(names)
      .split(' ')
      .map((name) => [name, Number(bits)] as const),
  ),
)

const fail = (why: string): never => {
  throw new SyntaxError(why)
}

/** Recursive descent, keeping every pair of an object and the exact digits of every number. */
const parse = (text: string): Json => {
  let at = 0
  const skip = (): void => {
    while (at < text.length && ' \t\n\r'.includes(text.charAt(at))) at++
  }
  const eat = (char: string): boolean => {
    skip()
    if (text[at] !== char) return false
    at++
    return true
  }
  const list = (close: string, item: () => void): void => {
    if (eat(close)) return
    do item()
    while (eat(','))
    if (!eat(close)) fail(`no ${close}`)
  }
  const literal = (): Json => {
    skip()
    const rest = text.slice(at)
    const found =
      /^("(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)/s
    const token = found.exec(rest)?.[0] ?? fail('no value')
    at += token.length
    if (token.startsWith('"')) return String(JSON.parse(token))
    return /^\d+$/.test(token) ? BigInt(token) : token === 'null' ? null : fail('no count')
  }
  const value = (): Json => {
    if (eat('[')) {
      const items: Array<Json> = []
      list(']', () => items.push(value()))
      return items
    }
    if (!eat('{')) return literal()
    const pairs: Array<readonly [string, Json]> = []
    list('}', () => {
      const key = literal()
      if (typeof key !== 'string' || !eat(':')) fail('no key')
      pairs.push([String(key), value()])
    })
    return { pairs }
  }
  const whole = value()
  skip()
  return at === text.length ? whole : fail('more text')
}

const object = (json: Json): ReadonlyMap<string, Json> => {
  if (json === null || typeof json !== 'object' || !('pairs' in json)) return fail('no object')
  const map = new Map(json.pairs)
  return map.size === json.pairs.length ? map : fail('a key twice')
}

const counts = (json: Json | undefined): ReadonlyArray<bigint> => {
  if (!Array.isArray(json)) return fail('no list')
  return json.map((n: Json) => (typeof n === 'bigint' && n < 2n ** 53n ? n : fail('no count')))
}

const well = (text: string): string =>
  Buffer.from(text, 'utf8').toString('utf8') === text ? text : fail('half a surrogate pair')

/** Throws on the first breach of the format. */
const readAll = (file: Uint8Array): ReadonlyMap<string, OracleTensor> => {
  const buffer = Buffer.from(file)
  const length = buffer.readBigUInt64LE(0)
  if (length > 100_000_000n || length + 8n > BigInt(file.length)) fail('header length')
  const start = 8 + Number(length)
  const header = buffer.subarray(8, start)
  if (header[0] !== 0x7b || !Buffer.from(header.toString('utf8')).equals(header)) fail('no UTF-8')
  const out = new Map<string, OracleTensor>()
  const spans: Array<readonly [bigint, bigint]> = []
  for (const [name, json] of object(parse(header.toString('utf8')))) {
    const entry = object(json)
    if (name === '__metadata__') {
      for (const text of entry.values()) if (typeof text !== 'string') fail('metadata')
      continue
    }
    if (entry.size !== 3) fail('keys')
    const dtype = String(entry.get('dtype'))
    const shape = counts(entry.get('shape'))
    const [begin = 0n, end = 0n, ...more] = counts(entry.get('data_offsets'))
    if (counts(entry.get('data_offsets')).length !== 2 || more.length > 0) fail('offsets')
    const bits = typeof entry.get('dtype') === 'string' ? bitsOf[dtype] : undefined
    if (bits === undefined || begin > end) fail('dtype or offsets')
    if (shape.filter((n) => n > 0n).reduce((a, b) => a * b, 1n) >= 2n ** 53n) fail('too large')
    if (shape.reduce((a, b) => a * b, 1n) * BigInt(bits ?? 0) !== (end - begin) * 8n) fail('size')
    spans.push([begin, end])
    const data = file.slice(start + Number(begin), start + Number(end))
    out.set(well(name), { dtype, shape: shape.map(Number), data })
  }
  // Laid end to end in some order, the spans must cover the data; empty ones must stand on a joint.
  const joints = new Set([0n, ...spans.map(([, end]) => end)])
  const total = spans.reduce((sum, [begin, end]) => sum + end - begin, 0n)
  const filled = spans.filter(([begin, end]) => begin < end)
  if (new Set(filled.map(([begin]) => begin)).size !== filled.length) fail('two begin together')
  if (spans.some(([begin]) => !joints.has(begin))) fail('hole')
  if (filled.some(([a, b]) => spans.some(([c, d]) => (c > a && c < b) || (d > a && d < b))))
    fail('overlap')
  if (total !== BigInt(file.length - start)) fail('length')
  return out
}

/** The tensors of the file, or undefined where it breaks a rule of the format. */
export const oracle = (file: Uint8Array): ReadonlyMap<string, OracleTensor> | undefined => {
  try {
    return readAll(file)
  } catch {
    return undefined
  }
}
