/** What is damaged, and what has to hold of whatever is accepted all the same: nothing changed in silence. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { reference } from '../backends/reference/index.ts'
import { print } from '../ir/print.ts'
import { parseConfig, renderConfig } from '../src/config/index.ts'
import type { Random } from '../src/data/random.ts'
import type { Issue } from '../src/issue.ts'
import { readSpec } from '../src/models/spec.ts'
import { parseJsonText } from '../src/text-file.ts'
import { readPlan, writePlan } from '../src/plan/file.ts'
import { planOf } from '../src/plan/plan.ts'
import { openFile } from '../src/tensors/reader.ts'
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts'
import { train } from '../src/train/train.ts'
import { right } from '../test/right.ts'
import { planFor, quiet, weightsOf, writeBase, yaml } from '../test/train-job.ts'
import { damagedBytes, damagedJson, damagedText } from './fuzz-mutate.ts'

/** Damages one file and uses it. Gives whether it was accepted; throws where that was wrong. */
export type Attempt = (r: Random) => Promise<boolean>

export type Kind = 'yaml' | 'config' | 'tokenizer' | 'safetensors' | 'plan' | 'checkpoint'

const root = path.join(import.meta.dirname, '..')
const at = (...parts: ReadonlyArray<string>): string => path.join(root, ...parts)
const read = (...parts: ReadonlyArray<string>): string => fs.readFileSync(at(...parts), 'utf8')

/** A refusal says something, in a sentence of bounded length. */
const stated = (issues: ReadonlyArray<Issue>): false => {
  assert.ok(issues.length > 0)
  for (const i of issues)
    assert.ok(i.message.length > 0 && i.message.length < 5000, 'an endless message')
  return false
}

const yamlKind = async (): Promise<Attempt> => {
  const texts = [
    read('examples/code-instructions/qlora.yaml'),
    read('examples/llama-2-7b/llama2_7b_4bit.yaml'),
    yaml('  early_stop: 2'),
  ]
  return async (r) => {
    const text = damagedText(r, texts[r.below(texts.length)]!)
    const parsed = parseConfig(text, { file: 'job.yaml', lenient: r.below(2) === 0 })
    if (E.isLeft(parsed)) return stated(parsed.left)
    const again = parseConfig(renderConfig(parsed.right.config), { file: 'again.yaml' })
    assert.deepEqual(right(again).config, parsed.right.config)
    return true
  }
}

const configKind = async (): Promise<Attempt> => {
  const texts = [
    read('examples/code-instructions/base/config.json'),
    read('test/fixtures/golden/llama2-tiny/base/config.json'),
    read('test/fixtures/golden/llama3-tiny/base/config.json'),
  ]
  return async (r) => {
    const spec = E.chain(readSpec)(parseJsonText(damagedJson(r, texts[r.below(texts.length)]!)))
    if (E.isLeft(spec)) return stated([spec.left])
    const { family: _, rope, ...rest } = spec.right
    for (const [key, value] of [...Object.entries(rest), ...Object.entries(rope)])
      if (typeof value === 'number') assert.ok(Number.isFinite(value) && value >= 0, key)
    assert.ok(rest.layers <= 256 && rest.hidden < 1e7 && rest.heads % rest.kvHeads === 0)
    return true
  }
}

const texts = ['x', 'def add(a, b):\n  return a + b', ' é中文🙂\u0000\r\n\t', '<s></s>']

const tokenizerKind = async (folder: string): Promise<Attempt> => {
  const names = ['llama2-like', 'qwen2-like', 'odd']
  const files = ['tokenizer.json', 'tokenizer_config.json']
  return async (r) => {
    const from = at('test/fixtures/tokenizer', names[r.below(names.length)]!)
    const hit = files[r.below(8) === 0 ? 1 : 0]!
    for (const name of files) {
      const text = fs.readFileSync(path.join(from, name), 'utf8')
      fs.writeFileSync(path.join(folder, name), name === hit ? damagedJson(r, text) : text)
    }
    const loaded = loadTokenizer(folder)
    if (E.isLeft(loaded)) return stated([loaded.left])
    const { encode, decode, vocabSize, bosId, eosIds } = loaded.right
    for (const text of texts) {
      const ids = encode(text, { addBos: true })
      assert.ok(
        ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize),
        'no id',
      )
      decode(ids)
    }
    assert.ok([bosId ?? 0, ...eosIds].every((id) => Number.isInteger(id) && id >= 0))
    return true
  }
}

const safetensorsKind = async (folder: string): Promise<Attempt> => {
  const good = fs.readFileSync(
    at('test/fixtures/golden/llama2-tiny/adapter/adapter_model.safetensors'),
  )
  const header = 8 + Number(good.readBigUInt64LE(0))
  const file = path.join(folder, 'x.safetensors')
  return async (r) => {
    // Mostly the header: what follows is numbers, of which any are good.
    const bytes =
      r.below(4) === 0
        ? damagedBytes(r, good)
        : Buffer.concat([damagedBytes(r, good.subarray(0, header)), good.subarray(header)])
    fs.writeFileSync(file, bytes)
    const opened = await openFile(file)()
    if (E.isLeft(opened)) return stated([opened.left])
    // Its tensors are the file from the header to the end, each byte once.
    let end = 8 + Number(Buffer.from(bytes).readBigUInt64LE(0))
    for (const t of opened.right.tensors.values()) {
      assert.equal(t.begin, end)
      end = t.end
      assert.equal(right(await opened.right.read(t.name)()).length, t.end - t.begin)
    }
    assert.equal(end, bytes.length)
    return true
  }
}

const planKind = async (folder: string): Promise<Attempt> => {
  await writeBase(path.join(folder, 'base'))
  const { config } = right(parseConfig(yaml(), { file: 'job.yaml' }))
  const short = { ...config, compiler: { ...config.compiler, row_length: 8 } }
  const plan = right(planOf(short, { folder, clock: () => 0 }))
  const [file, copy] = [path.join(folder, 'plan.json'), path.join(folder, 'copy.json')]
  right(await writePlan(plan, file)())
  const good = fs.readFileSync(file, 'utf8')
  const first = right(readPlan(file))
  return async (r) => {
    fs.writeFileSync(copy, r.below(3) === 0 ? damagedText(r, good) : damagedJson(r, good))
    const again = readPlan(copy)
    if (E.isLeft(again)) return stated(again.left)
    assert.equal(print(again.right.program), print(first.program))
    for (const key of ['config', 'shapes', 'techniques', 'arenaBytes'] as const)
      assert.deepEqual(again.right[key], first[key])
    return true
  }
}

const checkpointKind = async (folder: string): Promise<Attempt> => {
  await writeBase(path.join(folder, 'base'))
  const plan = planFor(folder, yaml('  steps_per_checkpoint: 2'))
  const events = quiet(folder)
  const stopAt = {
    ...events.options,
    stop: () => events.events.some((e) => e._tag === 'step' && e.step === 4),
  }
  const { resultsFolder } = right(await train(plan, reference, stopAt)())
  const [copy, checkpoints] = [path.join(folder, 'copy'), 'model/training_checkpoints']
  const resume = async () => train(plan, reference, quiet(folder, { resume: copy }).options)()
  const fresh = (): void => {
    fs.rmSync(copy, { recursive: true, force: true })
    fs.cpSync(resultsFolder, copy, { recursive: true })
  }
  fresh()
  const expected = await weightsOf(right(await resume()).adapterFolder!)
  const files = fs
    .readdirSync(path.join(resultsFolder, checkpoints), { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => path.relative(resultsFolder, path.join(f.parentPath, f.name)))
  return async (r) => {
    fresh()
    const hit = path.join(copy, files[r.below(files.length)]!)
    const bytes = fs.readFileSync(hit)
    const json = hit.endsWith('.json') && r.below(3) > 0
    fs.writeFileSync(hit, json ? damagedJson(r, bytes.toString()) : damagedBytes(r, bytes))
    const done = await resume()
    if (E.isLeft(done)) return stated(done.left)
    assert.deepEqual(await weightsOf(done.right.adapterFolder!), expected, hit)
    return true
  }
}

/** Each kind, made ready in an empty folder. */
export const kinds: { readonly [K in Kind]: (folder: string) => Promise<Attempt> } = {
  yaml: yamlKind,
  config: configKind,
  tokenizer: tokenizerKind,
  safetensors: safetensorsKind,
  plan: planKind,
  checkpoint: checkpointKind,
}
