/** Damage to files, drawn from a seed: to bytes, to lines of text, to values of JSON. */
import type { Random } from '../src/data/random.ts'

const pick = <T>(r: Random, from: ReadonlyArray<T>): T => from[r.below(from.length)]!

/** Values that have hurt before. */
const values: ReadonlyArray<unknown> = [
  ...[null, true, '', 'x', [], {}, 0, -1, 1, 2, 0.5, 1.5, -100, 255, 256, 65_537, 1e7, 2 ** 31],
  ...[2 ** 53, 1e21, 1e300, -1e300, '1', 'auto', '__proto__', '\u0000', '\ud800', 'é'.repeat(300)],
  ...[[[[[]]]], [null], ['a', 'a'], { a: { b: {} } }, 'null', 'NaN', '../..', '/', '{', '$&'],
]

const words: ReadonlyArray<string> = [
  ...[
    '"',
    "'",
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '-',
    '- ',
    '? ',
    '&a',
    '*a',
    '<<: ',
    '!!str ',
    '|',
    '>',
  ],
  ...[
    '\n',
    '\t',
    '\r',
    '  ',
    '#',
    '---\n',
    '\\',
    '\\u0000',
    '%',
    '@',
    '`',
    '~',
    '.inf',
    '.nan',
    '0x',
  ],
  ...['null', '-1', '1e999', '1e7', '9007199254740993', '\ufeff', '\u202e', '\u001b[31m', '\ud83d'],
]

type Json =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<Json>
  | { readonly [key: string]: Json }

/** Every place of a value, as the path to it. */
const places = (json: Json, at: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> =>
  typeof json !== 'object' || json === null
    ? [at]
    : [
        at,
        ...Object.entries(json)
          .slice(0, 60)
          .flatMap(([k, v]) => places(v as Json, [...at, k])),
      ]

const replaced = (
  json: Json,
  [key, ...rest]: ReadonlyArray<string>,
  change: (v: Json) => Json | undefined,
): Json | undefined => {
  if (key === undefined) return change(json)
  const entries = Object.entries(json as object).flatMap(([k, v]) => {
    const next = k === key ? replaced(v as Json, rest, change) : (v as Json)
    return next === undefined ? [] : [[k, next] as const]
  })
  return Array.isArray(json) ? entries.map(([, v]) => v) : Object.fromEntries(entries)
}

const twisted = (r: Random, v: Json): Json | undefined => {
  switch (r.below(6)) {
    case 0:
      return undefined
    case 1:
      return typeof v === 'number' ? -v : [v]
    case 2:
      return typeof v === 'number' ? v * 10 ** r.below(20) : { v }
    case 3:
      return typeof v === 'string' ? v.slice(0, r.below(v.length + 1)) : String(v)
    default:
      return pick(r, values) as Json
  }
}

/** JSON with a few of its values changed, taken away or put elsewhere. */
export const damagedJson = (r: Random, text: string): string => {
  let json = JSON.parse(text) as Json
  for (let n = 1 + r.below(3); n > 0; n--) {
    const all = places(json)
    json = replaced(json, pick(r, all), (v) => twisted(r, v)) ?? null
  }
  const written = JSON.stringify(json)
  return r.below(8) === 0 ? damagedText(r, written) : written
}

const depths = (r: Random): string =>
  pick(r, ['[', '{"a":', '- ', '{a: ', '(']).repeat(1 << r.below(15))

/** Text with some characters or lines put in, taken away, repeated or exchanged. */
export const damagedText = (r: Random, text: string): string => {
  let out = text
  for (let n = 1 + r.below(4); n > 0; n--) {
    const at = r.below(out.length + 1)
    const lines = out.split('\n')
    const [i, j] = [r.below(lines.length), r.below(lines.length)]
    switch (r.below(8)) {
      case 0:
        out = out.slice(0, at) + pick(r, words) + out.slice(at)
        break
      case 1:
        out = out.slice(0, at) + out.slice(at + r.below(20))
        break
      case 2:
        out = lines.toSpliced(i, 1).join('\n')
        break
      case 3:
        out = lines.toSpliced(i, 0, lines[j]!).join('\n')
        break
      case 4:
        out = lines.with(i, ' '.repeat(r.below(4)) + lines[i]!).join('\n')
        break
      case 5:
        out = lines
          .with(i, lines[i]!.replace(/(:\s*)\S.*$/, `$1${JSON.stringify(pick(r, values))}`))
          .join('\n')
        break
      case 6:
        out = out.slice(0, at) + pick(r, words).repeat(r.below(2000)) + out.slice(at)
        break
      default:
        out = r.below(20) === 0 ? out.slice(0, at) + depths(r) + out.slice(at) : out.slice(0, at)
    }
  }
  return out
}

/** Bytes with some bits turned, ranges taken away, repeated or cut off. */
export const damagedBytes = (r: Random, bytes: Uint8Array): Uint8Array => {
  let out = Buffer.from(bytes)
  for (let n = 1 + r.below(3); n > 0 && out.length > 0; n--) {
    const at = r.below(out.length)
    const end = Math.min(out.length, at + 1 + r.below(32))
    switch (r.below(6)) {
      case 0:
        out = out.subarray(0, at)
        break
      case 1:
        out = Buffer.concat([out.subarray(0, at), out.subarray(end)])
        break
      case 2:
        out = Buffer.concat([out.subarray(0, end), out.subarray(at)])
        break
      case 3:
        out[at] = pick(r, [0, 1, 0x22, 0x7f, 0x80, 0xff])
        break
      default:
        out[at]! ^= 1 << r.below(8)
    }
  }
  return out
}
