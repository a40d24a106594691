/** Columns as a Parquet file: one row group, a page a column, values plain and uncompressed, which every reader knows. */
import { rowsOf, type Column } from './column.ts'
import { i32, i64, list, struct, text, thrift, varint, type Thrift } from './thrift.ts'

const MAGIC = new TextEncoder().encode('PAR1')

/** Numbers that the format gives its words. */
const DOUBLE = 5
const BYTE_ARRAY = 6
const UTF8 = 0
const LIST = 3
const REQUIRED = 0
const REPEATED = 2
const PLAIN = 0
const RLE = 3

const isText = (c: Column): boolean => c.kind === 'text' || c.kind === 'texts'
const isList = (c: Column): boolean => c.kind === 'texts' || c.kind === 'numbers'

const doubles = (values: ReadonlyArray<number>): Uint8Array =>
  // The file is little-endian, as is every machine that tunec runs on.
  new Uint8Array(Float64Array.from(values).buffer)

const texts = (values: ReadonlyArray<string>): Uint8Array => {
  const parts = values.flatMap((s) => {
    const bytes = new TextEncoder().encode(s)
    return [new Uint8Array(Uint32Array.of(bytes.length).buffer), bytes]
  })
  return Buffer.concat(parts)
}

const plain = (c: Column): Uint8Array => {
  switch (c.kind) {
    case 'text':
      return texts(c.values)
    case 'number':
      return doubles(c.values)
    case 'texts':
      return texts(c.values.flat())
    case 'numbers':
      return doubles(c.values.flat())
  }
}

/** Levels of 0 and 1 as runs of equals, after their length in bytes. */
const levels = (bits: ReadonlyArray<number>): Uint8Array => {
  const bytes: number[] = []
  for (let i = 0; i < bits.length;) {
    let n = 1
    while (i + n < bits.length && bits[i + n] === bits[i]) n++
    bytes.push(...varint(2 * n), bits[i]!)
    i += n
  }
  return Buffer.concat([
    new Uint8Array(Uint32Array.of(bytes.length).buffer),
    Uint8Array.from(bytes),
  ])
}

/** Of a list: whether an entry goes on with its row, and whether there is one; an empty list is one entry that there is not. */
const levelsOf = (c: Column): ReadonlyArray<Uint8Array> => {
  if (c.kind !== 'texts' && c.kind !== 'numbers') return []
  const lengths = c.values.map((v) => v.length)
  const repetition = lengths.flatMap((n) =>
    Array.from({ length: Math.max(1, n) }, (_, i) => Math.min(i, 1)),
  )
  const definition = lengths.flatMap((n) => (n === 0 ? [0] : Array.from({ length: n }, () => 1)))
  return [levels(repetition), levels(definition)]
}

const entriesOf = (c: Column): number =>
  isList(c)
    ? c.values.reduce<number>((n, v) => n + Math.max(1, (v as ReadonlyArray<unknown>).length), 0)
    : c.values.length

const pageOf = (c: Column): Uint8Array => {
  const body = Buffer.concat([...levelsOf(c), plain(c)])
  const header = struct([
    [1, i32(0)],
    [2, i32(body.length)],
    [3, i32(body.length)],
    [
      5,
      struct([
        [1, i32(entriesOf(c))],
        [2, i32(PLAIN)],
        [3, i32(RLE)],
        [4, i32(RLE)],
      ]),
    ],
  ])
  return Buffer.concat([Uint8Array.from(thrift(header)), body])
}

const leaf = (name: string, c: Column): Thrift =>
  struct([
    [1, i32(isText(c) ? BYTE_ARRAY : DOUBLE)],
    [3, i32(REQUIRED)],
    [4, text(name)],
    ...(isText(c) ? [[6, i32(UTF8)] as const] : []),
  ])

/** A column's elements of the schema, depth first. */
const schemaOf = (c: Column): ReadonlyArray<Thrift> =>
  isList(c)
    ? [
        struct([
          [3, i32(REQUIRED)],
          [4, text(c.name)],
          [5, i32(1)],
          [6, i32(LIST)],
        ]),
        struct([
          [3, i32(REPEATED)],
          [4, text('list')],
          [5, i32(1)],
        ]),
        leaf('element', c),
      ]
    : [leaf(c.name, c)]

const chunkOf = (c: Column, offset: number, bytes: number): Thrift => {
  const path = isList(c) ? [c.name, 'list', 'element'] : [c.name]
  const meta = struct([
    [1, i32(isText(c) ? BYTE_ARRAY : DOUBLE)],
    [2, list('i32', [i32(PLAIN), i32(RLE)])],
    [3, list('text', path.map(text))],
    [4, i32(0)],
    [5, i64(entriesOf(c))],
    [6, i64(bytes)],
    [7, i64(bytes)],
    [9, i64(offset)],
  ])
  return struct([
    [2, i64(offset)],
    [3, meta],
  ])
}

export const parquet = (columns: ReadonlyArray<Column>): Uint8Array => {
  const pages = columns.map(pageOf)
  const starts = pages.map((_, i) => pages.slice(0, i).reduce((n, p) => n + p.length, MAGIC.length))
  const total = pages.reduce((n, p) => n + p.length, 0)
  const rows = i64(rowsOf(columns))
  const group = struct([
    [
      1,
      list(
        'struct',
        columns.map((c, i) => chunkOf(c, starts[i]!, pages[i]!.length)),
      ),
    ],
    [2, i64(total)],
    [3, rows],
  ])
  const root = struct([
    [4, text('schema')],
    [5, i32(columns.length)],
  ])
  const footer = Uint8Array.from(
    thrift(
      struct([
        [1, i32(1)],
        [2, list('struct', [root, ...columns.flatMap(schemaOf)])],
        [3, rows],
        [4, list('struct', [group])],
        [6, text('tunec')],
      ]),
    ),
  )
  const length = new Uint8Array(Uint32Array.of(footer.length).buffer)
  return Buffer.concat([MAGIC, ...pages, footer, length, MAGIC])
}
