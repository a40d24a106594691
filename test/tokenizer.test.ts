/** Tokenizers against Hugging Face's own (fixtures/tokenizer/pairs.py), and what their files say of special tokens. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import type { Issue } from '../src/issue.ts'
import { loadTokenizer, type Tokenizer } from '../src/tokenizer/tokenizer.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

interface Pair {
  readonly text: string
  readonly ids: ReadonlyArray<number>
  readonly decoded: string
}

const pairsOf = async (file: string): Promise<ReadonlyArray<Pair>> =>
  JSON.parse(await fs.readFile(here(file), 'utf8')) as ReadonlyArray<Pair>

const load = async (folder: string): Promise<Tokenizer> => right(loadTokenizer(here(folder)))

const base = '../examples/code-instructions/base'

const cases = [
  [base, 'fixtures/tokenizer/base-pairs.json'],
  ['fixtures/tokenizer/llama2-like', 'fixtures/tokenizer/llama2-like/pairs.json'],
  ['fixtures/tokenizer/qwen2-like', 'fixtures/tokenizer/qwen2-like/pairs.json'],
  ['fixtures/tokenizer/odd', 'fixtures/tokenizer/odd/pairs.json'],
] as const

for (const [folder, file] of cases)
  test(`${folder} gives the ids and texts of the original`, async () => {
    const tokenizer = await load(folder)
    const pairs = await pairsOf(file)
    assert.ok(pairs.length >= 60)
    for (const { text, ids, decoded } of pairs) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), decoded, JSON.stringify(text))
    }
  })

test('byte-level tokens decode to any text they came from', async () => {
  const tokenizer = await load(base)
  const text = fc.string({
    unit: fc.oneof(
      fc.constantFrom('<s>', '</s>', ' ', '\n', '\t', '7', 'def ', '\ufeff'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    ),
  })
  fc.assert(
    fc.property(
      fc.oneof(text, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })),
      (s) => {
        const ids = tokenizer.encode(s)
        assert.equal(tokenizer.decode(ids), s)
        assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize))
      },
    ),
    runs(500),
  )
})

test('special ids of the bundled base, and BOS on request', async () => {
  const t = await load(base)
  assert.deepEqual([t.bosId, t.eosIds, t.padId, t.vocabSize], [1, [2], 0, 4096])
  assert.deepEqual(t.encode('x', { addBos: true }), [1, ...t.encode('x')])
  assert.deepEqual(t.encode('', { addBos: true }), [1])
  assert.equal(t.decode([1, ...t.encode('x'), 2]), '<s>x</s>')
  assert.equal(t.decode([1, ...t.encode('x'), 2], { skipSpecial: true }), 'x')
  assert.equal(t.decode([]), '')
  const other = await load('fixtures/tokenizer/llama2-like')
  assert.equal(other.decode([620, 99999]), '')
})

test('a tokenizer without BOS adds none', async () => {
  const t = await load('fixtures/tokenizer/qwen2-like')
  assert.deepEqual([t.bosId, t.eosIds, t.padId], [null, [602], 600])
  assert.deepEqual(t.encode('x', { addBos: true }), t.encode('x'))
})

/** The bundled base with some of its files replaced (null: left out). */
const variant = async (
  files: Readonly<Record<string, unknown>>,
): Promise<E.Either<Issue, Tokenizer>> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-tokenizer-'))
  try {
    const tokenizer = JSON.parse(
      await fs.readFile(here('fixtures/tokenizer/llama2-like/tokenizer.json'), 'utf8'),
    ) as Record<string, unknown>
    const change = (files['tokenizer.json'] ?? {}) as object
    const all = { ...files, 'tokenizer.json': { ...tokenizer, ...change } }
    for (const [name, value] of Object.entries(all))
      await fs.writeFile(
        path.join(folder, name),
        typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value),
      )
    return loadTokenizer(folder)
  } finally {
    await fs.rm(folder, { recursive: true })
  }
}

const special = async (files: Readonly<Record<string, unknown>>) => {
  const { bosId, eosIds, padId } = right(await variant(files))
  return { bosId, eosIds, padId }
}

test('EOS: the tokenizer names the first, generation_config or else config adds others', async () => {
  const files = {
    'tokenizer_config.json': { eos_token: { content: '</s>' } },
    'generation_config.json': { eos_token_id: [7, 2, 8] },
    'config.json': { eos_token_id: 9, pad_token_id: -1 },
  }
  assert.deepEqual(await special(files), { bosId: 1, eosIds: [2, 7, 8], padId: null })
  assert.deepEqual(
    (await special({ 'special_tokens_map.json': { eos_token: '</s>' } })).eosIds,
    [2],
  )
  assert.deepEqual((await special({ 'config.json': { eos_token_id: 5 } })).eosIds, [5])
  assert.deepEqual((await special({})).eosIds, [])
})

test('BOS: the post-processor decides, whatever add_bos_token says', async () => {
  const named = { bos_token: '</s>' }
  assert.equal((await special({})).bosId, 1)
  assert.equal((await special({ 'tokenizer.json': { post_processor: null } })).bosId, null)
  assert.equal((await special({ 'tokenizer_config.json': { add_bos_token: false } })).bosId, 1)
  assert.equal(
    (await special({ 'tokenizer_config.json': { ...named, add_bos_token: true } })).bosId,
    1,
  )
  const config = { 'config.json': { bos_token_id: 1 }, 'tokenizer.json': { post_processor: null } }
  assert.equal((await special(config)).bosId, null)
})

const refusal = async (change: object): Promise<string> => {
  const got = await variant({ 'tokenizer.json': change })
  if (E.isRight(got)) throw new Error('loaded')
  return got.left.message
}

const splitBy = (regex: string, behavior = 'Isolated') => ({
  pre_tokenizer: { type: 'Split', pattern: { Regex: regex }, behavior, invert: false },
})

test('what the library cannot reproduce is refused by name', async () => {
  assert.match(await refusal(splitBy('\\Gx')), /regular expression with \\G/)
  assert.match(await refusal(splitBy('(?>a|ab)c')), /an atomic group/)
  assert.match(await refusal(splitBy('\\p{L}++')), /a possessive quantifier/)
  assert.match(await refusal(splitBy('[[=a=]]')), /a POSIX collating element/)
  assert.match(await refusal(splitBy('(?i)a')), /cannot be read/)
  assert.match(await refusal(splitBy('a', 'MergedWithNext')), /behaviour MergedWithNext/)
  assert.match(await refusal(splitBy('a', 'Removed')), /behaviour Removed/)
  assert.match(await refusal({ pre_tokenizer: { type: 'Whitespace' } }), /pre-tokenizer Whitespace/)
  assert.match(await refusal({ normalizer: { type: 'Lowercase' } }), /normalizer Lowercase/)
  assert.match(await refusal({ decoder: { type: 'CTC' } }), /decoder CTC/)
  assert.match(await refusal({ model: { type: 'Unigram', vocab: [] } }), /of the kind Unigram/)
  assert.match(
    await refusal({ model: { type: 'BPE', vocab: {}, merges: [], dropout: 0.1 } }),
    /at random/,
  )
  const whole = { added_tokens: [{ id: 0, content: 'x', single_word: true }] }
  assert.match(await refusal(whole), /whole words only: "x"/)
})

const letters = { a: 0, b: 1, ab: 2, '<unk>': 3 }
const letterModel = (change: object = {}): object => ({
  model: { type: 'BPE', vocab: letters, merges: ['a b'], unk_token: '<unk>', ...change },
  added_tokens: [],
  ...{ normalizer: null, pre_tokenizer: null, decoder: null, post_processor: null },
})

test('a vocabulary whose numbers are no ids is refused, with the token', async () => {
  for (const id of [-1, 1.5, null, -100, '3', 2 ** 31, true, [0]])
    assert.equal(
      await refusal(letterModel({ vocab: { ...letters, c: id } })),
      `the tokenizer gives the token "c" the id ${JSON.stringify(id)}`,
    )
  assert.match(await refusal(letterModel({ vocab: {}, merges: [] })), /empty vocabulary/)
  assert.match(
    await refusal(letterModel({ vocab: { ...letters, c: 1 } })),
    /the tokens "b" and "c" the same id 1/,
  )
  for (const id of [-1, 1.5, null, -100, undefined])
    assert.match(
      await refusal({ ...letterModel(), added_tokens: [{ content: '<s>', id }] }),
      /the added token "<s>" the id/,
    )
  for (const content of ['', null, 7])
    assert.match(
      await refusal({ ...letterModel(), added_tokens: [{ content, id: 9 }] }),
      /added token without text: id 9/,
    )
})

test('merges that give no token are refused', async () => {
  assert.match(await refusal(letterModel({ merges: ['b a'] })), /"ba" is no token/)
  assert.match(await refusal(letterModel({ merges: [['a', 'c']] })), /"c" is no token/)
  for (const merge of ['ab', 'a b a', 7, ['a'], ['a', 1]])
    assert.match(await refusal(letterModel({ merges: [merge] })), /no pair/)
})

test('a tokenizer that would drop characters is refused', async () => {
  const whole = { vocab: letters, unk_token: null }
  assert.match(await refusal(letterModel(whole)), /neither tokens for bytes nor an unk_token/)
  assert.match(await refusal(letterModel({ ...whole, byte_fallback: true })), /the byte 0x00/)
  assert.match(await refusal(letterModel({ unk_token: '?' })), /the unk_token "\?"/)
  const bundled = JSON.parse(await fs.readFile(here(`${base}/tokenizer.json`), 'utf8')) as {
    readonly model: { readonly vocab: Record<string, number>; readonly merges: unknown }
  }
  const { vocab } = bundled.model
  // Newline is written as Ċ; `Z` is itself.
  for (const [letter, byte] of [
    ['Ċ', '0x0A'],
    ['Z', '0x5A'],
  ] as const) {
    const { [letter]: _, ...rest } = vocab
    const merges = (bundled.model.merges as ReadonlyArray<string | [string, string]>).filter(
      (m) => !(typeof m === 'string' ? m : m.join('')).includes(letter),
    )
    const change = { ...bundled, model: { ...bundled.model, vocab: rest, merges } }
    assert.match(await refusal(change), new RegExp(`the byte ${byte}`))
  }
  right(await variant({ 'tokenizer.json': letterModel() }))
})

test('ids that configurations and templates name are ids', async () => {
  for (const key of ['bos_token_id', 'eos_token_id', 'pad_token_id'])
    for (const id of [1.5, -100, '2', [2, -7]]) {
      const got = await variant({ 'generation_config.json': { [key]: id } })
      assert.ok(E.isLeft(got) && got.left.message.startsWith(`${key} of generation_config.json is`))
    }
  const got = await variant({ 'config.json': { eos_token_id: -1 } })
  assert.ok(E.isLeft(got) && /eos_token_id of config\.json is -1/.test(got.left.message))
  for (const id of [-1, 99999, null, 0.5]) {
    const special_tokens = { '<s>': { id: '<s>', ids: [id], tokens: ['<s>'] } }
    const post_processor = { type: 'TemplateProcessing', single: [], pair: [], special_tokens }
    assert.match(
      await refusal({ post_processor: { type: 'Sequence', processors: [post_processor] } }),
      /the post-processor gives "<s>" the id/,
    )
  }
})

test('files that are nested without end, or that are no UTF-8', async () => {
  const deep = `{"type":"Sequence","pretokenizers":[`.repeat(9000)
  const got = await variant({ 'config.json': `{"a":${'['.repeat(1e5)}` })
  assert.ok(E.isLeft(got) && /nested deeper than 64 levels/.test(got.left.message))
  const nested = await variant({
    'tokenizer_config.json': `{"x":${deep}${']}'.repeat(9000)}}`,
  })
  assert.ok(E.isLeft(nested) && /nested deeper than/.test(nested.left.message))
  const latin = await variant({ 'config.json': Buffer.from('{\n"a": "é"}', 'latin1') })
  assert.ok(E.isLeft(latin) && latin.left.message === 'the file is not UTF-8')
  assert.equal(latin.left.line, 2)
  // A bracket inside text is no nesting.
  right(await variant({ 'config.json': JSON.stringify({ a: '\\"[{'.repeat(100) }) }))
})

test('a folder without tokenizer, and files that are no JSON', async () => {
  const none = loadTokenizer(path.join(os.tmpdir(), 'no such folder'))
  assert.ok(E.isLeft(none) && /no tokenizer\.json/.test(none.left.message))
  const broken = await variant({ 'tokenizer_config.json': '{' })
  assert.ok(E.isLeft(broken) && /not JSON/.test(broken.left.message))
  for (const name of ['tokenizer_config.json', 'config.json']) {
    const twice = await variant({ [name]: '{"a": {"eos_token": 1, "eos\\u005ftoken": 2}}' })
    assert.ok(E.isLeft(twice))
    assert.match(twice.left.message, /the key `eos_token` is written twice/)
    assert.equal(path.basename(twice.left.file ?? ''), name)
  }
  const list = await variant({ 'config.json': '[]' })
  assert.ok(E.isLeft(list) && /JSON object/.test(list.left.message))
})
