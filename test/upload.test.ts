/** A run on a hub: what lies there afterwards, what its card tells, and what nobody is told. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { openHub, TOKEN, type Hub } from './hub-server.ts'

const ID = 'me/adder'

const write = async (folder: string, more: ReadonlyArray<string> = []): Promise<string> => {
  await writeModel(path.join(folder, 'base'), 5)
  const rows = Array.from({ length: 12 }, (_, i) => `Add ${i},${2 * i},${i < 8 ? 0 : i % 2 === 0 ? 1 : 2}`)
  await fs.writeFile(path.join(folder, 'data.csv'), `instruction,output,split\n${rows.join('\n')}\n`)
  const job = path.join(folder, 'job.yaml')
  await fs.writeFile(
    job,
    [
      'model_type: llm',
      'base_model: base',
      'input_features: [{name: instruction, type: text}]',
      'output_features: [{name: output, type: text}]',
      'preprocessing: {split: {type: fixed, column: split}}',
      ...more,
      `compiler: {dataset: ${path.join(folder, 'data.csv')}, backend: reference}`,
      '',
    ].join('\n'),
  )
  return job
} // prettier-ignore

const lora = [
  'adapter: {type: lora, r: 2}',
  'trainer: {type: finetune, epochs: 1, learning_rate: 0.01}',
]

/** The text files of the last commit, and the names of the large ones with their sums. */
const committed = (hub: Hub) => {
  const { lines } = hub.commits.at(-1)!
  const texts = new Map<string, string>()
  const large = new Map<string, string>()
  for (const { key, value } of lines) {
    const at = String(value['path'])
    if (key === 'file') texts.set(at, Buffer.from(String(value['content']), 'base64').toString())
    if (key === 'lfsFile') large.set(at, String(value['oid']))
  }
  return { texts, large, title: lines[0]!.value['summary'] }
}

/** With a hub in the environment, as a person sets it. */
const asUser = async <T>(hub: Hub, more: Record<string, string>, body: () => Promise<T>): Promise<T> => {
  const set: Record<string, string> = { HF_ENDPOINT: hub.url, HF_HUB_OFFLINE: '0', ...more }
  const before = Object.keys(set).map((n) => [n, process.env[n]] as const)
  Object.assign(process.env, set)
  try {
    return await body()
  } finally {
    for (const [n, value] of before)
      if (value === undefined) delete process.env[n]
      else process.env[n] = value
  }
} // prettier-ignore

test('a run is uploaded whole, with a card, and without a token or a path of this machine', () =>
  inFolder(async (folder) => {
    const hub = await openHub()
    try {
      const job = await write(folder, lora)
      const results = path.join(folder, 'results')
      const trained = await here('train', job, '--output-directory', results)
      assert.equal(trained.code, 0, trained.err)
      const run = path.join(results, 'experiment_run')
      const home = path.join(folder, 'home')
      const ran = await asUser(hub, { HF_TOKEN: TOKEN, HF_HOME: home }, () =>
        here('upload', run, '--repo', ID, '--private', '-c', 'first'),
      )
      assert.equal(ran.code, 0, ran.err)
      assert.match(ran.out, /files lie at/)
      assert.match(ran.err, /the base model is a folder here/)
      assert.ok(!`${ran.out}${ran.err}`.includes(TOKEN))
      assert.ok(hub.repos.has(`models/${ID}`), 'it was made')

      const { texts, large, title } = committed(hub)
      assert.equal(title, 'first')
      const weights = path.join(run, 'model/model_weights')
      const sent = [...texts.keys(), ...large.keys()].toSorted()
      const names = await fs.readdir(weights)
      assert.deepEqual(sent, [...names, 'tunec.yaml'].toSorted())
      for (const [name, oid] of large) {
        const bytes = await fs.readFile(path.join(weights, name))
        assert.deepEqual(hub.uploaded.get(oid), bytes)
      }
      for (const line of texts.get('SHA256SUMS')!.trim().split('\n')) {
        const [sum, name] = line.split('  ') as [string, string]
        const text = texts.get(name)
        const is = text === undefined ? large.get(name) : createHash('sha256').update(text).digest('hex')
        assert.equal(is, sum, name)
      }

      const card = texts.get('README.md')!
      assert.match(card, /^---\nlibrary_name: peft\n[^]*- lora\n---/)
      assert.match(card, /## Data\n\n`data\.csv`, 12 rows, SHA-256 `[0-9a-f]{64}`/)
      assert.match(card, /## Metrics\n\nAfter \d+ step[^]*\| loss \| [\d.]+ \| [\d.]+ \|/)
      assert.match(card, /## Config\n\n```yaml\n[^]*learning_rate: 0\.01/)
      assert.match(card, /## Plan\n\nPlanned for a CPU, run on the backend `reference`[^]*lora:\n {2}r: 2/)
      const config = JSON.parse(texts.get('adapter_config.json')!) as Record<string, unknown>
      assert.equal(config['base_model_name_or_path'], 'base')
      for (const [name, text] of texts) {
        assert.ok(!text.includes(folder), `${name} tells a path`)
        assert.ok(!text.includes(TOKEN), name)
      }
      for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true }))
        if (entry.isFile()) {
          const bytes = await fs.readFile(path.join(entry.parentPath, entry.name))
          assert.ok(!bytes.includes(TOKEN), entry.name)
        }

      const again = await asUser(hub, { HF_TOKEN: TOKEN, HF_HOME: home }, () =>
        here('upload', run, '--repo', ID, '--base-model', 'someone/tiny'),
      )
      assert.equal(again.code, 0, again.err)
      assert.equal(again.err.trim(), '')
      const second = committed(hub).texts
      assert.match(second.get('README.md')!, /base_model: someone\/tiny\nbase_model_relation: adapter/)
      assert.match(second.get('adapter_config.json')!, /"base_model_name_or_path": "someone\/tiny"/)
      assert.equal(hub.asked.filter((a) => a.includes('/api/repos/create')).length, 1)

      const refused = async (more: Record<string, string>, ...args: ReadonlyArray<string>) => {
        const { code, err } = await asUser(hub, { HF_HOME: home, ...more }, () => here('upload', ...args))
        assert.equal(code, 1)
        return err
      }
      const commits = hub.commits.length
      assert.match(await refused({}, run, '--repo', ID), /no token to upload with[^]*HF_TOKEN/)
      const wrong = await refused({ HF_TOKEN: 'hf_wrongsecret' }, run, '--repo', ID)
      assert.match(wrong, /the token may not write there/)
      assert.ok(!wrong.includes('hf_wrongsecret'))
      assert.match(await refused({ HF_TOKEN: TOKEN, HF_HUB_OFFLINE: '1' }, run, '--repo', ID), /HF_HUB_OFFLINE/)
      assert.match(await refused({ HF_TOKEN: TOKEN }, run, '--repo', 'adder'), /no name on a hub/)
      assert.match(await refused({ HF_TOKEN: TOKEN }, run), /--repo is wanted/)
      assert.match(await refused({ HF_TOKEN: TOKEN }, folder, '--repo', ID), /description\.json/)
      await fs.appendFile(path.join(weights, 'adapter_model.safetensors'), 'x')
      assert.match(await refused({ HF_TOKEN: TOKEN }, run, '--repo', ID), /is not what was written/)
      assert.equal(hub.commits.length, commits)
    } finally {
      await hub.close()
    }
  })) // prettier-ignore

test('heads go with their encoder, or alone where it was not trained', () =>
  inFolder(async (folder) => {
    const hub = await openHub()
    try {
      await writeModel(path.join(folder, 'base'), 5)
      const rows = Array.from({ length: 12 }, (_, i) => `${'xyz'[i % 3]} ${i},${'abc'[i % 3]},${i},${i < 8 ? 0 : 1}`)
      await fs.writeFile(path.join(folder, 'data.csv'), `text,kind,size,split\n${rows.join('\n')}\n`)
      const sent = async (encoder: string) => {
        const job = path.join(folder, 'labels.yaml')
        await fs.writeFile(
          job,
          [
            'model_type: ecd',
            `input_features: [{name: text, type: text, encoder: {type: llm, base_model: base, ${encoder}}}]`,
            'output_features: [{name: kind, type: category}, {name: size, type: number}]',
            'preprocessing: {split: {type: fixed, column: split}}',
            'trainer: {epochs: 1, learning_rate: 0.01}',
            'compiler: {dataset: data.csv, backend: reference}',
            '',
          ].join('\n'),
        )
        const results = path.join(folder, `results${hub.commits.length}`)
        const trained = await here('train', job, '--output-directory', results)
        assert.equal(trained.code, 0, trained.err)
        const ran = await asUser(hub, { HF_TOKEN: TOKEN, HF_HOME: folder }, () =>
          here('upload', path.join(results, 'experiment_run'), '--repo', ID),
        )
        assert.equal(ran.code, 0, ran.err)
        const { texts, large } = committed(hub)
        return { names: [...texts.keys(), ...large.keys()].toSorted(), card: texts.get('README.md')! }
      }
      const alone = await sent('trainable: false')
      assert.deepEqual(alone.names, ['README.md', 'SHA256SUMS', 'heads/heads.json', 'heads/heads.safetensors', 'tunec.yaml'])
      assert.match(alone.card, /Heads on `base`, which is as it was/)
      assert.match(alone.card, /- `kind`, a category: `a`, `b`, `c`\n- `size`, a number/)
      assert.match(alone.card, /\| kind\.accuracy \|/)
      const both = await sent('trainable: true, adapter: {type: lora, r: 2}')
      assert.ok(both.names.includes('adapter_model.safetensors') && both.names.includes('heads/heads.safetensors'))
      assert.match(both.card, /library_name: peft/)
    } finally {
      await hub.close()
    }
  })) // prettier-ignore
