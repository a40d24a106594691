/** Folders whose files say different things, against AutoTokenizer of transformers 5 (fixtures/tokenizer/classes.py). */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts'
import { tokenizerRemarks } from '../src/tokenizer/remarks.ts'
import { right } from './right.ts'

type Json = Readonly<Record<string, unknown>>

interface Case {
  readonly name: string
  readonly start: string
  readonly model: Json
  readonly model_class?: string
  readonly config: Json | null
  readonly tokenizer: Json
  readonly map?: Json
  readonly end: number | null
  readonly ids: ReadonlyArray<ReadonlyArray<number>>
  readonly texts: ReadonlyArray<string>
}

const at = path.join(import.meta.dirname, 'fixtures', 'tokenizer')
const { texts, cases } = JSON.parse(fs.readFileSync(path.join(at, 'classes.json'), 'utf8')) as {
  readonly texts: ReadonlyArray<string>
  readonly cases: ReadonlyArray<Case>
}

const folderOf = (start: string): string =>
  start === 'base'
    ? path.join(import.meta.dirname, '..', 'examples', 'code-instructions', 'base')
    : path.join(at, start)

const withCase = <A>(
  c: Case,
  more: Readonly<Record<string, Json>>,
  use: (folder: string) => A,
): A => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-classes-'))
  const put = (name: string, value: unknown): void =>
    fs.writeFileSync(path.join(folder, name), JSON.stringify(value))
  try {
    const written = JSON.parse(
      fs.readFileSync(path.join(folderOf(c.start), 'tokenizer.json'), 'utf8'),
    ) as Json
    put('tokenizer.json', { ...written, ...c.tokenizer })
    put('config.json', {
      ...c.model,
      ...(c.model_class === undefined ? {} : { tokenizer_class: c.model_class }),
    })
    if (c.config !== null) put('tokenizer_config.json', c.config)
    if (c.map !== undefined) put('special_tokens_map.json', c.map)
    for (const [name, value] of Object.entries(more)) put(name, value)
    return use(folder)
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

/** Transformers would number these tokens anew, or splits what is one token to every model. */
const refused: Readonly<Record<string, RegExp>> = {
  'end not in the vocabulary': /has no token "<\|end\|>", which the files name as eos_token/,
  'added token of its own': /lacks "<new>", which tokenizer_config.json adds with the id 4096/,
  'special tokens split': /splits special tokens like other text/,
}

for (const c of cases)
  test(`tokenizer, ${c.name}`, () => {
    const loaded = withCase(c, {}, loadTokenizer)
    const why = refused[c.name]
    if (why !== undefined) {
      assert.ok(E.isLeft(loaded))
      return assert.match(loaded.left.message, why)
    }
    const tokenizer = right(loaded)
    assert.deepEqual(tokenizer.eosIds, c.end === null ? [] : [c.end])
    texts.forEach((text, i) => {
      const ids = c.ids[i]!
      // A token that a class adds to this small vocabulary, and that no model of it knows.
      if (ids.some((id) => id >= tokenizer.vocabSize)) return
      assert.deepEqual(tokenizer.encode(text, { addBos: true }), ids, JSON.stringify(text))
      assert.equal(tokenizer.decode(ids), c.texts[i], JSON.stringify(text))
    })
  })

const own = (name: string): RegExp =>
  new RegExp(`${name}: transformers 5 splits text by the rules of that class`)

/** What is said; a case that is not listed must be silent. */
const said: Readonly<Record<string, ReadonlyArray<RegExp>>> = {
  Llama: [own('LlamaTokenizer')],
  'Llama, fast': [own('LlamaTokenizer')],
  'Llama, legacy': [own('LlamaTokenizer')],
  'Llama, legacy null': [own('LlamaTokenizer')],
  'Llama, no prefix space': [own('LlamaTokenizer')],
  'Llama, said not to begin with BOS': [
    own('LlamaTokenizer'),
    /add_bos_token false.* begins a text with <s>/,
  ],
  'Llama, nothing around': [own('LlamaTokenizer'), /add_bos_token true.* puts nothing before/],
  'class in config.json': [own('LlamaTokenizer')],
  CodeLlama: [own('CodeLlamaTokenizer')],
  'end null': [own('LlamaTokenizer')],
  'Qwen2 of another class': [own('Qwen2Tokenizer')],
  "Llama of Qwen2's class": [own('Qwen2Tokenizer')],
  'GPT-2': [own('GPT2Tokenizer')],
  'GPT-2, prefix space': [own('GPT2Tokenizer')],
  'plain class, add_bos_token false': [/add_bos_token false.* begins a text with <s>/],
  'map wins': [/eos_token is "<pad>" in special_tokens_map.json, .* "<\/s>" in tokenizer_config/],
  'map null': [/eos_token is null in special_tokens_map.json/],
}

test('where tokenizer files contradict one another it is said, and nowhere else', () => {
  for (const c of cases) {
    if (refused[c.name] !== undefined) continue
    const remarks = withCase(c, {}, tokenizerRemarks)
    const expected = said[c.name] ?? []
    assert.equal(remarks.length, expected.length, `${c.name}: ${remarks.join('; ')}`)
    expected.forEach((why, i) => assert.match(remarks[i]!, why))
  }
})

test('end tokens: the tokenizer, generation_config.json and config.json', () => {
  const plain = cases.find((c) => c.name === 'unknown class')!
  const remarksOf = (more: Readonly<Record<string, Json>>) =>
    withCase(plain, more, tokenizerRemarks)
  const model = (id: unknown) => ({ 'config.json': { ...plain.model, eos_token_id: id } })
  const generation = (id: unknown) => ({ 'generation_config.json': { eos_token_id: id } })
  assert.deepEqual(remarksOf({ ...model(2), ...generation([2, 0]) }), [])
  const [other] = remarksOf(model(0))
  assert.match(other!, /ends with 2 .* config.json lists 0: .* trained to end with 2/)
  const [first, second] = remarksOf({ ...model(7), ...generation([0, 1]) })
  assert.match(first!, /ends with 2 .* generation_config.json lists 0, 1: .* end with 2/)
  assert.match(second!, /eos_token_id 7 of config.json has no effect/)
})

test('what a post-processor puts after a text is said; what it puts before it counts', () => {
  const plain = cases.find((c) => c.name === 'unknown class')!
  const part = (id: string) => ({ SpecialToken: { id, type_id: 0 } })
  const template = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): Case => ({
    ...plain,
    tokenizer: {
      post_processor: {
        type: 'TemplateProcessing',
        single: [...before.map(part), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(part)],
        pair: [],
        special_tokens: {
          '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] },
          '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] },
        },
      },
    },
  })
  const [after] = withCase(template(['<s>'], ['</s>']), {}, tokenizerRemarks)
  assert.match(after!, /puts <\/s> after a text: .* prompts do not end with it/)
  const two = withCase(template(['<s>', '</s>'], []), {}, loadTokenizer)
  assert.ok(E.isLeft(two) && /puts 2 tokens before a text/.test(two.left.message))
  const roberta = { ...plain, tokenizer: { post_processor: { type: 'RobertaProcessing' } } }
  const odd = withCase(roberta, {}, loadTokenizer)
  assert.ok(E.isLeft(odd) && /post-processor RobertaProcessing/.test(odd.left.message))
})
