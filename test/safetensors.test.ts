/** The header: every rule of the format has a file that breaks it, and files of the reference library load. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import type { Issue } from '../src/issue.ts'
import { byteLength, dtypes } from '../src/tensors/dtype.ts'
import { headerEnd, parseHeader } from '../src/tensors/header.ts'
import { layOut, measure } from '../src/tensors/layout.ts'
import { anyTensors, fileOf } from './safetensors-arbitrary.ts'
import { bitsOf, oracle } from './safetensors-oracle.ts'

const entry = (
  shape: ReadonlyArray<number>,
  begin: number,
  end: number,
  dtype = 'F32',
): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})

const parse = (file: Uint8Array): ReturnType<typeof parseHeader> => parseHeader(file, file.length)

/** The issue of a file that the oracle refuses, too. */
const refused = (file: Uint8Array): Issue => {
  assert.equal(oracle(file), undefined, 'the oracle accepts the file')
  const result = parse(file)
  return E.isLeft(result) ? result.left : assert.fail('the file loads')
}

const accepted = (file: Uint8Array): ReadonlyArray<string> => {
  const result = parse(file)
  if (E.isLeft(result)) return assert.fail(JSON.stringify(result.left))
  assert.deepEqual(
    result.right.tensors.map(({ name }) => name).toSorted(),
    [...(oracle(file)?.keys() ?? assert.fail('the oracle refuses the file'))].toSorted(),
  )
  return result.right.tensors.map(({ name }) => name)
}

const eight = new Uint8Array(8)
const two53 = 2 ** 53

const withLength = (length: bigint): Uint8Array => {
  const file = Buffer.from(fileOf({ a: entry([2], 0, 8) }, eight))
  file.writeBigUInt64LE(length)
  return new Uint8Array(file)
}

const notUtf8 = (): Uint8Array => {
  const file = fileOf('{"ab":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight)
  return file.with(10, 0xc3)
}

const bad: ReadonlyArray<readonly [rule: string, file: Uint8Array, says: RegExp, path?: string]> = [
  ['an empty file', new Uint8Array(), /0 bytes, too few/],
  ['seven bytes', new Uint8Array(7), /7 bytes, too few/],
  ['a header over 100 MB', withLength(100_000_001n), /100000001 bytes long/],
  ['a header of 2^64 - 1 bytes', withLength(2n ** 64n - 1n), /18446744073709551615 bytes/],
  ['a header longer than the file', withLength(1000n), /1000 bytes long, but the file ends/],
  ['a header of no bytes', fileOf('', eight), /does not begin with `\{`/],
  ['an array', fileOf('[]'), /does not begin with `\{`/],
  ['space before the brace', fileOf(' {}'), /does not begin with `\{`/],
  ['a byte order mark', fileOf('\ufeff{}'), /does not begin with `\{`/],
  ['bytes that are not UTF-8', notUtf8(), /not UTF-8/],
  ['JSON that stops', fileOf('{"a":'), /not JSON/],
  ['text after the JSON', fileOf('{} x'), /not JSON/],
  ['zeros after the JSON', fileOf('{}\0\0'), /not JSON/],
  ['a string that never ends', fileOf('{"a'), /not JSON/],
  ['a lone backslash', fileOf('{"a\\'), /not JSON/],
  ['deep nesting', fileOf(`{"a":${'['.repeat(100_000)}`), /deeper than 3 levels/, 'a'],
  [
    'the same tensor twice',
    fileOf(
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      eight,
    ),
    /`a` is written twice/,
    'a',
  ],
  [
    'the same tensor twice, once escaped',
    fileOf(
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
      eight,
    ),
    /`a` is written twice/,
  ],
  [
    'two shapes',
    fileOf('{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', eight),
    /`shape` is written twice/,
    'a',
  ],
  [
    'metadata twice',
    fileOf('{"__metadata__":{},"__metadata__":{}}'),
    /`__metadata__` is written twice/,
  ],
  ['a metadata key twice', fileOf('{"__metadata__":{"k":"","k":""}}'), /`k` is written twice/],
  ['metadata that is text', fileOf({ __metadata__: 'pt' }), /metadata is not an object/],
  ['metadata that is null', fileOf({ __metadata__: null }), /metadata is not an object/],
  ['metadata that is a list', fileOf({ __metadata__: ['pt'] }), /metadata is not an object/],
  ['metadata that holds a number', fileOf({ __metadata__: { k: 1 } }), /`k` is not a string/],
  ['metadata that holds null', fileOf({ __metadata__: { k: null } }), /`k` is not a string/],
  ['a tensor that is a list', fileOf({ a: [] }), /not an object/, 'a'],
  ['a tensor that is null', fileOf({ a: null }), /not an object/, 'a'],
  ['no dtype', fileOf({ a: { shape: [2], data_offsets: [0, 8] } }, eight), /dtype/, 'a'],
  ['no shape', fileOf({ a: { dtype: 'F32', data_offsets: [0, 8] } }, eight), /shape/, 'a'],
  ['no offsets', fileOf({ a: { dtype: 'F32', shape: [2] } }, eight), /data_offsets/, 'a'],
  [
    'an unknown key',
    fileOf({ a: { ...entry([2], 0, 8), strides: [1] } }, eight),
    /unknown key `strides`/,
    'a',
  ],
  ['an unknown dtype', fileOf({ a: entry([2], 0, 8, 'F33') }, eight), /"F33" is unknown/, 'a'],
  ['a dtype of Object', fileOf({ a: entry([2], 0, 8, 'toString') }, eight), /unknown/, 'a'],
  ['a lower-case dtype', fileOf({ a: entry([2], 0, 8, 'f32') }, eight), /"f32" is unknown/, 'a'],
  ['a dtype that is a number', fileOf({ a: { ...entry([2], 0, 8), dtype: 32 } }, eight), /dtype/],
  ['a negative size', fileOf({ a: entry([-2, -1], 0, 8) }, eight), /-2 is not a plain count/, 'a'],
  ['a fraction', fileOf({ a: entry([0.5, 4], 0, 8) }, eight), /0.5 is not a plain count/, 'a'],
  [
    'a size of 2.0',
    fileOf('{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', eight),
    /2.0 is not a plain count/,
  ],
  [
    'a size of 2e0',
    fileOf('{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', eight),
    /2e0 is not a plain count/,
  ],
  [
    'a size of -0',
    fileOf('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'),
    /-0 is not a plain count/,
  ],
  [
    'a size of 02',
    fileOf('{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', eight),
    /not JSON/,
  ],
  ['a shape that is text', fileOf({ a: { ...entry([], 0, 8), shape: '2' } }, eight), /shape/, 'a'],
  ['a shape of text', fileOf({ a: { ...entry([], 0, 8), shape: ['2'] } }, eight), /shape/, 'a'],
  ['a shape of null', fileOf({ a: { ...entry([], 0, 4), shape: [null] } }, eight), /shape/, 'a'],
  ['a size of 2^53', fileOf({ a: entry([two53, 0], 0, 0) }), /below 2\^53/, 'a'],
  [
    'a size of 2^53 + 1, which rounds',
    fileOf('{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,0]}}'),
    /below 2\^53/,
    'a',
  ],
  [
    'a size of 2^64 + 1, which wraps to 1',
    fileOf('{"a":{"dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1]}}', eight),
    /not a plain count/,
    'a',
  ],
  [
    'a product of 2^64, which wraps to 0',
    fileOf({ a: entry([2 ** 32, 2 ** 32], 0, 0) }),
    /element count is beyond 2\^53/,
    'a',
  ],
  [
    'a product beyond 2^53 hidden by a zero',
    fileOf({ a: entry([2 ** 40, 2 ** 40, 0], 0, 0) }),
    /element count is beyond 2\^53/,
    'a',
  ],
  [
    'a zero before a product beyond 2^53',
    fileOf({ a: entry([0, 2 ** 40, 2 ** 40], 0, 0) }),
    /element count is beyond 2\^53/,
    'a',
  ],
  ['bytes beyond 2^53', fileOf({ a: entry([2 ** 51], 0, 0) }), /byte count is beyond/, 'a'],
  ['one offset', fileOf({ a: { ...entry([2], 0, 8), data_offsets: [0] } }, eight), /pair/, 'a'],
  [
    'three offsets',
    fileOf({ a: { ...entry([2], 0, 8), data_offsets: [0, 8, 8] } }, eight),
    /pair/,
    'a',
  ],
  ['offsets that go back', fileOf({ a: entry([2], 8, 0) }, eight), /ends at 0, before/, 'a'],
  ['a negative offset', fileOf({ a: entry([2], -8, 0) }, eight), /-8 is not a plain count/, 'a'],
  ['too many bytes', fileOf({ a: entry([1], 0, 8) }, eight), /F32 \[1\] has 8 bytes/, 'a'],
  ['too few bytes', fileOf({ a: entry([3], 0, 8) }, eight), /F32 \[3\] has 8 bytes/, 'a'],
  ['an empty tensor with bytes', fileOf({ a: entry([0], 0, 8) }, eight), /has 8 bytes/, 'a'],
  ['half a byte', fileOf({ a: entry([3], 0, 2, 'F4') }, eight), /do not fill whole bytes/, 'a'],
  ['6 bits', fileOf({ a: entry([2], 0, 2, 'F6_E2M3') }, eight), /do not fill whole bytes/, 'a'],
  ['data that begins late', fileOf({ a: entry([1], 4, 8) }, eight), /4 bytes before/, 'a'],
  [
    'a hole',
    fileOf({ a: entry([1], 0, 4), b: entry([1], 8, 12) }, new Uint8Array(12)),
    /4 bytes before/,
    'b',
  ],
  [
    'an overlap',
    fileOf({ a: entry([2], 0, 8), b: entry([2], 4, 12) }, new Uint8Array(12)),
    /overlaps/,
    'b',
  ],
  [
    'two names for the same data',
    fileOf({ a: entry([2], 0, 8), b: entry([2], 0, 8) }, eight),
    /overlaps/,
    'b',
  ],
  [
    'an empty tensor inside another',
    fileOf({ a: entry([2], 0, 8), b: entry([0], 4, 4) }, eight),
    /overlaps/,
    'b',
  ],
  ['a file cut off', fileOf({ a: entry([2], 0, 8) }, eight.slice(1)), /cut off/],
  ['a byte too many', fileOf({ a: entry([2], 0, 8) }, new Uint8Array(9)), /1 bytes at the end/],
  ['data without tensors', fileOf({}, eight), /8 bytes at the end/],
  [
    'half a surrogate pair',
    fileOf('{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    /surrogate/,
  ],
]

for (const [rule, file, says, path] of bad)
  test(`a header with ${rule} is refused`, () => {
    const issue = refused(file)
    assert.match(issue.message, says)
    assert.ok(issue.hint, 'says how to mend it')
    if (path !== undefined) assert.equal(issue.path, path)
  })

test('odd but valid headers load', () => {
  assert.deepEqual(accepted(fileOf('{}')), [])
  assert.deepEqual(accepted(fileOf('{}      ')), [])
  assert.deepEqual(accepted(fileOf({ __metadata__: {} })), [])
  assert.deepEqual(accepted(fileOf({ scalar: entry([], 0, 4) }, eight.slice(4))), ['scalar'])
  assert.deepEqual(accepted(fileOf({ none: entry([3, 0], 0, 0) })), ['none'])
  assert.deepEqual(accepted(fileOf({ z: entry([1], 4, 8), a: entry([1], 0, 4) }, eight)), [
    'a',
    'z',
  ])
  const unaligned = { a: entry([1], 0, 1, 'U8'), b: entry([2], 1, 9) }
  assert.deepEqual(accepted(fileOf(unaligned, new Uint8Array(9))), ['a', 'b'])
  const empties = {
    a: entry([0], 4, 4),
    b: entry([1], 0, 4),
    c: entry([0], 4, 4),
    d: entry([0], 0, 0),
  }
  assert.deepEqual(accepted(fileOf(empties, eight.slice(4))), ['d', 'b', 'a', 'c'])
  const text = '{"__proto__":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
  assert.deepEqual(accepted(fileOf(text, eight)), ['__proto__'])
  assert.deepEqual(accepted(fileOf({ q: entry([4], 0, 3, 'F6_E3M2') }, eight.slice(5))), ['q'])
})

test('positions are counted from the start of the file', () => {
  const file = fileOf({ a: entry([1], 0, 4), b: entry([1], 4, 8) }, eight)
  const result = parse(file)
  assert.ok(E.isRight(result))
  assert.deepEqual(
    result.right.tensors.map(({ begin, end }) => [begin - file.length, end - file.length]),
    [
      [-8, -4],
      [-4, 0],
    ],
  )
})

test('a header of exactly 100,000,000 bytes is within the bound', () => {
  assert.deepEqual(headerEnd(withLength(100_000_000n), 200_000_000), E.right(100_000_008))
})

test('bytes that stop before the header does are refused', () => {
  const file = fileOf({ a: entry([2], 0, 8) }, eight)
  assert.ok(E.isLeft(parseHeader(file.subarray(0, 20), file.length)))
})

test('the table of dtypes is the format’s, and byte counts are exact', () => {
  assert.deepEqual(dtypes.toSorted(), Object.keys(bitsOf).toSorted())
  for (const dtype of dtypes)
    assert.deepEqual(byteLength(dtype, [2 ** 20, 2 ** 20]), E.right(2 ** 37 * (bitsOf[dtype] ?? 0)))
})

test('a laid-out header reads back as the tensors that went in', () => {
  fc.assert(
    fc.property(
      anyTensors,
      fc.dictionary(fc.string({ unit: 'binary' }), fc.string()),
      (tensors, metadata) => {
        const sized = measure(tensors)
        assert.ok(E.isRight(sized))
        const layout = layOut(sized.right, metadata)
        assert.ok(E.isRight(layout))
        const { header, tensors: sorted } = layout.right
        assert.equal(header.length % 8, 0)
        const file = new Uint8Array(Buffer.concat([header, ...sorted.map(({ data }) => data)]))
        assert.deepEqual(
          oracle(file),
          new Map(tensors.map(({ name, dtype, shape, data }) => [name, { dtype, shape, data }])),
        )
        const read = parse(file)
        assert.ok(E.isRight(read))
        assert.deepEqual(new Map(Object.entries(metadata)), read.right.metadata)
        assert.deepEqual(
          read.right.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
          // Empty tensors may stand anywhere among those that begin with them.
          read.right.tensors.map(({ name }) => {
            const { dtype, shape } = tensors.find((t) => t.name === name) ?? assert.fail(name)
            return { name, dtype, shape }
          }),
        )
      },
    ),
  )
})

test('a file of the reference library has the tensors that went in', async () => {
  const folder = new URL('./fixtures/safetensors/', import.meta.url)
  const file = new Uint8Array(await readFile(new URL('reference.safetensors', folder)))
  const facts = JSON.parse(await readFile(new URL('reference.json', folder), 'utf8')) as Record<
    string,
    { readonly shape: ReadonlyArray<number>; readonly hex: string }
  >
  const result = parse(file)
  assert.ok(E.isRight(result))
  assert.deepEqual(result.right.metadata, new Map([['format', 'pt']]))
  assert.deepEqual(
    Object.fromEntries(
      result.right.tensors.map(({ name, shape, begin, end }) => [
        name,
        { shape, hex: Buffer.from(file.subarray(begin, end)).toString('hex') },
      ]),
    ),
    Object.fromEntries(Object.entries(facts).map(([k, { shape, hex }]) => [k, { shape, hex }])),
  )
})
