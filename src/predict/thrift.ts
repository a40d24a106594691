/** The compact protocol of Apache Thrift, as much of it as Parquet's headers need. */

/** A value with the type that its field header names. */
export type Thrift =
  | { readonly _tag: 'i32' | 'i64'; readonly value: number }
  | { readonly _tag: 'text'; readonly value: string }
  | { readonly _tag: 'list'; readonly of: Thrift['_tag']; readonly values: ReadonlyArray<Thrift> }
  /** Fields by their ids, ascending. */
  | {
      readonly _tag: 'struct'
      readonly fields: ReadonlyArray<readonly [id: number, value: Thrift]>
    }

const codes: { readonly [T in Thrift['_tag']]: number } = {
  i32: 5,
  i64: 6,
  text: 8,
  list: 9,
  struct: 12,
}

/** Seven bits a byte, the lowest first. */
export const varint = (n: number): ReadonlyArray<number> => {
  const bytes: number[] = []
  let left = n
  while (left >= 128) {
    bytes.push((left % 128) + 128)
    left = Math.floor(left / 128)
  }
  return [...bytes, left]
}

/** Signs alternate: 0, −1, 1, −2, … */
const zigzag = (n: number): number => (n < 0 ? -2 * n - 1 : 2 * n)

/** The bytes of a value; ids of fields grow by at most 15. */
export const thrift = (v: Thrift): ReadonlyArray<number> => {
  switch (v._tag) {
    case 'i32':
    case 'i64':
      return varint(zigzag(v.value))
    case 'text': {
      const bytes = new TextEncoder().encode(v.value)
      return [...varint(bytes.length), ...bytes]
    }
    case 'list': {
      const n = v.values.length
      const head = n < 15 ? [n * 16 + codes[v.of]] : [0xf0 + codes[v.of], ...varint(n)]
      return [...head, ...v.values.flatMap(thrift)]
    }
    case 'struct':
      return [
        ...v.fields.flatMap(([id, value], i) => [
          (id - (v.fields[i - 1]?.[0] ?? 0)) * 16 + codes[value._tag],
          ...thrift(value),
        ]),
        0,
      ]
  }
}

export const i32 = (value: number): Thrift => ({ _tag: 'i32', value })
export const i64 = (value: number): Thrift => ({ _tag: 'i64', value })
export const text = (value: string): Thrift => ({ _tag: 'text', value })
export const struct = (fields: ReadonlyArray<readonly [number, Thrift]>): Thrift => ({
  _tag: 'struct',
  fields,
})
export const list = (of: Thrift['_tag'], values: ReadonlyArray<Thrift>): Thrift => ({
  _tag: 'list',
  of,
  values,
})
