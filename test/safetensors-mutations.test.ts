/** Damaged files: each gives an issue, or exactly what an independent reading of its bytes gives. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import { openFile } from '../src/tensors/reader.ts'
import { fileOf, inFolder, right } from './safetensors-arbitrary.ts'
import { oracle, type OracleTensor } from './safetensors-oracle.ts'

const tensor = (
  dtype: string,
  shape: ReadonlyArray<number>,
  begin: number,
  end: number,
): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})

const valid = fileOf(
  {
    __metadata__: { format: 'pt' },
    'model.layers.0.self_attn.q_proj.weight': tensor('F32', [3, 4], 0, 48),
    'model.layers.10.mlp.down_proj.weight': tensor('BF16', [2, 2], 48, 56),
    größe: tensor('F16', [2], 56, 60),
    scalar: tensor('F32', [], 60, 64),
    none: tensor('U8', [0, 7], 64, 64),
    bytes: tensor('U8', [10], 64, 74),
    nibbles: tensor('F4', [2, 3], 74, 77),
  },
  Uint8Array.from({ length: 77 }, (_, i) => 3 * i),
)
const dataStart = valid.length - 77

type Mutation = (file: Uint8Array) => Uint8Array

const flip =
  (at: number, mask: number): Mutation =>
  (file) =>
    file.with(at % file.length, (file[at % file.length] ?? 0) ^ mask)

const splice =
  (at: number, remove: number, insert: Uint8Array): Mutation =>
  (file) =>
    new Uint8Array(
      Buffer.concat([
        file.subarray(0, at),
        insert,
        file.subarray(Math.min(file.length, at + remove)),
      ]),
    )

/** Rewrites the header's text; its length follows unless the file is to lie about it. */
const edit =
  (change: (text: string) => string, honest: boolean): Mutation =>
  (file) => {
    const start = 8 + Number(Buffer.from(file).readBigUInt64LE(0))
    const text = change(Buffer.from(file.subarray(8, start)).toString())
    const edited = fileOf(text, file.subarray(start))
    if (!honest) edited.set(file.subarray(0, 8))
    return edited
  }

const tokens = /"[^"]*"|\d+|[[\]{}:,]/g

/** Puts one token of the header in the place of another, or a made-up one. */
const swapToken = (to: number, from: number, made: string | undefined) => (text: string) => {
  const all = [...text.matchAll(tokens)]
  const place = all[to % all.length]
  const token = made ?? all[from % all.length]?.[0] ?? ''
  const at = place?.index ?? 0
  return text.slice(0, at) + token + text.slice(at + (place?.[0].length ?? 0))
}

const entries = /,"[^"]*":\{[^}]*\}/g

/** Drops, repeats or moves a whole tensor entry. */
const moveEntry = (which: number, times: number) => (text: string) => {
  const all = [...text.matchAll(entries)]
  const entry = all[which % all.length]
  const at = entry?.index ?? 0
  const rest = text.slice(0, at) + text.slice(at + (entry?.[0].length ?? 0))
  return rest.replace(/\}\s*$/, `${entry?.[0].repeat(times)}}`)
}

const position = fc.oneof(fc.nat(valid.length - 1), fc.nat(dataStart - 1), fc.nat(16))
const made = fc.constantFrom(
  '0',
  '1',
  '-1',
  '1e3',
  '9007199254740993',
  'null',
  '"F64"',
  '"x"',
  '[]',
  '',
)

const anyMutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc
    .record({ at: position, mask: fc.integer({ min: 1, max: 255 }) })
    .map(({ at, mask }) => flip(at, mask)),
  fc.record({ at: position, bit: fc.nat(7) }).map(({ at, bit }) => flip(at, 1 << bit)),
  position.map((at) => (file: Uint8Array) => file.slice(0, at)),
  fc
    .record({ at: position, remove: fc.nat(12), insert: fc.uint8Array({ maxLength: 12 }) })
    .map(({ at, remove, insert }) => splice(at, remove, insert)),
  fc
    .record({
      to: fc.nat(),
      from: fc.nat(),
      token: fc.option(made, { nil: undefined }),
      honest: fc.boolean(),
    })
    .map(({ to, from, token, honest }) => edit(swapToken(to, from, token), honest)),
  fc
    .record({ which: fc.nat(), times: fc.nat(2) })
    .map(({ which, times }) => edit(moveEntry(which, times), true)),
)

/** What the reader makes of the file: its tensors, or undefined and an issue that has been looked at. */
const load = async (path: string): Promise<ReadonlyMap<string, OracleTensor> | undefined> => {
  const file = await openFile(path)()
  if (E.isLeft(file)) {
    assert.ok(file.left.message.length > 0)
    assert.equal(file.left.file, path)
    return undefined
  }
  const tensors = new Map<string, OracleTensor>()
  for (const [name, { dtype, shape }] of file.right.tensors)
    tensors.set(name, { dtype, shape, data: await right(file.right.read(name)) })
  return tensors
}

test('1000 damaged files give an issue or what an independent reading gives', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'damaged.safetensors')
    let loaded = 0
    await fc.assert(
      fc.asyncProperty(fc.array(anyMutation, { minLength: 1, maxLength: 2 }), async (mutations) => {
        const file = mutations.reduce((f, mutate) => (f.length < 8 ? f : mutate(f)), valid)
        await writeFile(path, file)
        const found = await load(path)
        assert.deepEqual(found, oracle(file))
        if (found) loaded++
      }),
      { numRuns: 1000 },
    )
    assert.ok(
      loaded > 30 && loaded < 970,
      `${loaded} loaded: the mutations are too mild or too harsh`,
    )
  })
})

test('a flipped byte of the data changes only the tensor that it belongs to', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'flipped.safetensors')
    const original = oracle(valid) ?? assert.fail('the original is not valid')
    for (let at = dataStart; at < valid.length; at++) {
      await writeFile(path, flip(at, 0xff)(valid))
      const found = (await load(path)) ?? assert.fail('it does not load')
      const same = (name: string): boolean =>
        Buffer.from(found.get(name)?.data ?? []).equals(original.get(name)?.data ?? Buffer.of())
      const shapes = (all: ReadonlyMap<string, OracleTensor>): object =>
        [...all].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
      assert.deepEqual(shapes(found), shapes(original))
      assert.equal([...original.keys()].filter((name) => !same(name)).length, 1)
    }
  })
})

test('every truncation of the file is refused', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'short.safetensors')
    for (let length = 0; length < valid.length; length += 3) {
      await writeFile(path, valid.subarray(0, length))
      assert.equal(await load(path), undefined)
    }
  })
})
