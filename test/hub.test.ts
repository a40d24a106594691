/** Models and data by id, against a hub on this machine: whole, resumed, checked, gated, offline. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { datasetFile, modelRepo, type Repo } from '../src/hub/address.ts'
import { cachedSnapshot } from '../src/hub/cache.ts'
import { fetchDataset } from '../src/hub/data.ts'
import { datasetPath } from '../src/hub/dataset-path.ts'
import type { FetchOptions } from '../src/hub/fetch.ts'
import { modelFolder, renewModel } from '../src/hub/model.ts'
import { hubSettings } from '../src/hub/settings.ts'
import type { Issue } from '../src/issue.ts'
import { dsl } from '../src/dsl.ts'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { commitOf, openHub, TOKEN, type Hub } from './hub-server.ts'
import { right } from './right.ts'

const ID = 'someone/tiny'

interface Setting {
  readonly hub: Hub
  readonly folder: string
  readonly options: (
    token?: string | null,
    more?: Partial<FetchOptions['settings']>,
  ) => FetchOptions
}

/** A hub that has a model in two shards, and a folder for the cache. */
const withHub = (body: (s: Setting) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const hub = await openHub()
    try {
      const base = path.join(folder, 'origin')
      await writeModel(base, 5)
      const files: Record<string, Uint8Array> = {}
      for (const name of await fs.readdir(base)) files[name] = await fs.readFile(path.join(base, name))
      hub.repos.set(`models/${ID}`, { files: { ...files, 'pytorch_model.bin': Buffer.alloc(9000) }, commit: commitOf('a') })
      await body({
        hub,
        folder,
        options: (token = null, more = {}) => ({
          settings: { endpoint: hub.url, cache: path.join(folder, 'hub'), offline: false, token: () => token, ...more },
          onProgress: ({ have }) => (hub.faults.seen = have),
          patience: 1,
        }),
      })
    } finally {
      await hub.close()
    }
  }) // prettier-ignore

const repo = (name = ID): Repo => modelRepo(name)!

const left = async (run: () => Promise<{ _tag: string; left?: Issue }>): Promise<Issue> => {
  const e = await run()
  assert.equal(e._tag, 'Left')
  return e.left!
}

const model = 'model.safetensors'

test('a model lies in the cache as Hugging Face lays it out, and is fetched once', () =>
  withHub(async ({ hub, folder, options }) => {
    const at = right(await modelFolder(repo(), 'whole', options())())
    const home = path.join(folder, 'hub', 'models--someone--tiny')
    assert.equal(at, path.join(home, 'snapshots', commitOf('a')))
    assert.equal(await fs.readFile(path.join(home, 'refs', 'main'), 'utf8'), commitOf('a'))
    const { files } = hub.repos.get(`models/${ID}`)!
    const names = (await fs.readdir(at)).toSorted()
    assert.deepEqual(names, ['config.json', model, 'tokenizer.json', 'tokenizer_config.json'])
    for (const name of names) {
      assert.deepEqual(await fs.readFile(path.join(at, name)), Buffer.from(files[name]!))
      const to = await fs.readlink(path.join(at, name))
      assert.match(to, name === model ? /^..\/..\/blobs\/[0-9a-f]{64}$/ : /^..\/..\/blobs\/[0-9a-f]{40}$|^..\/..\/blobs\/[0-9a-f]{64}$/)
    }
    assert.ok(!(await fs.readdir(path.join(home, 'blobs'))).some((n) => n.endsWith('.incomplete')))
    const before = hub.asked.length
    assert.equal(right(await modelFolder(repo(), 'whole', options())()), at)
    assert.equal(hub.asked.length, before, 'what is there is not asked for')
    assert.equal(right(await modelFolder(repo(), 'whole', options(null, { offline: true }))()), at)
  })) // prettier-ignore

test('small files alone are fetched to plan with, a newer commit when it is asked for, what did not change not again', () =>
  withHub(async ({ hub, options }) => {
    const small = right(await modelFolder(repo(), 'small', options())())
    assert.ok(!(await fs.readdir(small)).includes(model))
    const old = right(await modelFolder(repo(), 'whole', options())())
    assert.ok((await fs.readdir(old)).includes(model))
    const there = hub.repos.get(`models/${ID}`)!
    there.commit = commitOf('b')
    there.files['generation_config.json'] = Buffer.from('{}')
    assert.equal(right(await modelFolder(repo(), 'whole', options())()), old)
    const large = hub.large.length
    const next = right(await renewModel(repo(), 'whole', options())())
    assert.notEqual(next, old)
    assert.ok((await fs.readdir(next)).includes('generation_config.json'))
    assert.equal(hub.large.length, large)
    const pinned = repo(`${ID}@${commitOf('a')}`)
    assert.equal(right(await modelFolder(pinned, 'whole', options())()), old)
    assert.equal(cachedSnapshot(pinned, options().settings.cache), old)
    const e = await left(modelFolder(repo(`${ID}@nothing`), 'small', options()))
    assert.match(e.message, /has no model someone\/tiny@nothing/)
  }))

test('a broken connection is taken up where it broke, and so is a later run', () =>
  withHub(async ({ hub, folder, options }) => {
    const size = hub.repos.get(`models/${ID}`)!.files[model]!.length
    await renewModel(repo(), 'small', options())()
    hub.large.length = 0
    hub.faults.breaks = [1000, 500]
    right(await modelFolder(repo(), 'whole', options())())
    const ranges = hub.large.map((l) => l.range)
    assert.deepEqual(ranges, [undefined, 'bytes=1000-', 'bytes=1500-'])
    const blobs = path.join(folder, 'hub', 'models--someone--tiny', 'blobs')
    const whole = await Promise.all((await fs.readdir(blobs)).map((n) => fs.stat(path.join(blobs, n))))
    assert.ok(whole.some((s) => s.size === size))

    // A later process finds what an earlier one left.
    await fs.rm(path.join(folder, 'hub'), { recursive: true })
    hub.large.length = 0
    hub.faults.breaks = [700, 0, 0, 0, 0, 0]
    const e = await left(modelFolder(repo(), 'whole', options()))
    assert.match(e.message, /breaks off after/)
    assert.match(e.hint!, /goes on from there/)
    hub.faults.breaks = []
    const asked = hub.large.length
    right(await modelFolder(repo(), 'whole', options())())
    assert.match(hub.large[asked]!.range!, /^bytes=\d+-$/)

    await fs.rm(path.join(folder, 'hub'), { recursive: true })
    hub.faults.breaks = [700]
    hub.faults.rangeless = true
    right(await modelFolder(repo(), 'whole', options())())
    await fs.rm(path.join(folder, 'hub'), { recursive: true })
    hub.faults.statuses = [503, 429]
    right(await modelFolder(repo(), 'whole', options())())
  })) // prettier-ignore

test('bytes that are not those of the listing are thrown away, fetched once more, and then refused', () =>
  withHub(async ({ hub, options }) => {
    hub.faults.wrong = 1
    right(await modelFolder(repo(), 'whole', options())())
    const other = await openHub()
    try {
      other.repos.set(`models/${ID}`, hub.repos.get(`models/${ID}`)!)
      other.faults.wrong = 100
      const e = await left(
        modelFolder(repo(), 'whole', options(null, { endpoint: other.url, cache: `${options().settings.cache}2` })),
      )
      assert.match(e.message, /config\.json of someone\/tiny is not what its hub lists/)
      assert.equal(cachedSnapshot(repo(), `${options().settings.cache}2`), null)
    } finally {
      await other.close()
    }
  })) // prettier-ignore

test('a gated model is named with the page of its licence; the token goes to the hub and to nobody else', () =>
  withHub(async ({ hub, options, folder }) => {
    hub.repos.get(`models/${ID}`)!.gated = 'manual'
    const none = await left(modelFolder(repo(), 'whole', options()))
    assert.match(none.message, /is gated: its owner wants a licence to be accepted first/)
    assert.match(none.hint!, new RegExp(`${hub.url}/someone/tiny.*HF_TOKEN`))
    const other = 'hf_anothersecret'
    const refused = await left(modelFolder(repo(), 'whole', options(other)))
    assert.match(refused.message, /the account of the token has not been let in/)
    assert.ok(!JSON.stringify(refused).includes(other))
    right(await modelFolder(repo(), 'whole', options(TOKEN))())
    assert.ok(hub.large.length > 0 && hub.large.every((l) => l.key === undefined))
    const all = await fs.readdir(path.join(folder, 'hub'), { recursive: true, withFileTypes: true })
    for (const f of all.filter((x) => x.isFile()))
      assert.ok(!(await fs.readFile(path.join(f.parentPath, f.name))).includes(TOKEN))

    hub.repos.set('models/someone/secret', { files: {}, commit: commitOf('s'), hidden: true })
    const hidden = await left(modelFolder(repo('someone/secret'), 'whole', options()))
    assert.match(hidden.message, /has no model someone\/secret, or none that everyone may read/)
    const empty = await left(modelFolder(repo('someone/secret'), 'whole', options(TOKEN)))
    assert.match(empty.message, /no config\.json/)
    hub.repos.set('models/someone/pickled', { files: { 'config.json': Buffer.from('{}'), 'pytorch_model.bin': Buffer.from('x') }, commit: commitOf('p') })
    const pickled = await left(modelFolder(repo('someone/pickled'), 'whole', options()))
    assert.match(pickled.message, /no safetensors/)
    const away = await left(modelFolder(repo(), 'whole', options(null, { endpoint: 'http://127.0.0.1:1025', cache: `${folder}/x` })))
    assert.match(away.message, /cannot be reached.*ECONNREFUSED/)
    const off = await left(modelFolder(repo('someone/else'), 'whole', options(null, { offline: true })))
    assert.match(off.message, /not in the cache, and HF_HUB_OFFLINE/)
  })) // prettier-ignore

test('a file of a dataset is fetched by its address, and an address without one is answered with those there are', () =>
  withHub(async ({ hub, options }) => {
    const rows = Buffer.from('instruction,output\na,b\n')
    hub.repos.set('datasets/someone/rows', {
      files: { 'README.md': Buffer.from('x'), 'data/a.csv': rows, 'data/b.jsonl': Buffer.from('{}') },
      commit: commitOf('d'),
    })
    const name = 'hf://datasets/someone/rows/data/a.csv'
    const at = right(await fetchDataset(name, options())())
    assert.deepEqual(await fs.readFile(at), rows)
    assert.match(at, /datasets--someone--rows\/snapshots\/[0-9a-f]{40}\/data\/a\.csv$/)
    const asked = hub.asked.length
    assert.equal(right(await fetchDataset(name, options())()), at)
    assert.equal(hub.asked.length, asked)
    const which = await left(fetchDataset('hf://someone/rows', options()))
    assert.match(which.expected!, /data\/a\.csv, data\/b\.jsonl/)
    const absent = await left(fetchDataset('hf://datasets/someone/rows/c.csv', options()))
    assert.match(absent.message, /has no file c\.csv/)
    const unfetched = datasetPath('hf://datasets/nobody/nothing/a.csv', '.')
    assert.ok(unfetched._tag === 'Left' && /tunec download/.test(unfetched.left.hint!))
  })) // prettier-ignore

test('names that are no hub ids, and the environment that Hugging Face reads', () => {
  for (const name of ['base', './a', '../a', 'a/b/c', '/a/b', 'a/..', 'a/b@../c', 'a b/c'])
    assert.equal(modelRepo(name), null, name)
  assert.deepEqual(modelRepo('hf://a/b@refs/pr/1'), { kind: 'model', id: 'a/b', revision: 'refs/pr/1' })
  for (const name of ['hf://a', 'hf://a/b--c', 'ludwig://alpaca', 'hf://datasets/a/b/../c.csv'])
    assert.equal(datasetFile(name)._tag, 'Left', name)
  assert.deepEqual(datasetFile('hf://datasets/a/b@v1%2Fx/c/d.csv'), {
    _tag: 'Right',
    right: { kind: 'dataset', id: 'a/b', revision: 'v1/x', path: 'c/d.csv' },
  })
  const plain = hubSettings({ HF_HOME: '/h' })
  assert.deepEqual([plain.cache, plain.endpoint, plain.offline], ['/h/hub', 'https://huggingface.co', false])
  assert.equal(hubSettings({ XDG_CACHE_HOME: '/x' }).cache, '/x/huggingface/hub')
  const set = hubSettings({ HF_HUB_CACHE: '/c', HF_ENDPOINT: 'http://m/', HF_HUB_OFFLINE: '1', HF_TOKEN: ' hf_x ' })
  assert.deepEqual([set.cache, set.endpoint, set.offline, set.token()], ['/c', 'http://m', true, 'hf_x'])
  assert.equal(hubSettings({ HF_HOME: '/nowhere' }).token(), null)
}) // prettier-ignore

test('a config that names base and data by id is checked, and its base asked, with nothing else at hand', () =>
  withHub(async ({ hub, folder }) => {
    const rows = Array.from({ length: 12 }, (_, i) => `Add ${i},${2 * i}`)
    hub.repos.set('datasets/someone/rows', {
      files: { 'a.csv': Buffer.from(`instruction,output\n${rows.join('\n')}\n`) },
      commit: commitOf('d'),
    })
    const job = path.join(folder, 'job.yaml')
    await fs.writeFile(
      job,
      [
        'model_type: llm',
        `base_model: ${ID}`,
        'adapter: {type: lora}',
        'input_features: [{name: instruction, type: text}]',
        'output_features: [{name: output, type: text}]',
        'trainer: {type: finetune, epochs: 1}',
        'generation: {max_new_tokens: 4, do_sample: false}',
        'compiler: {dataset: "hf://datasets/someone/rows/a.csv", backend: reference}',
        '',
      ].join('\n'),
    )
    const names = ['HF_HOME', 'HF_ENDPOINT', 'HF_HUB_OFFLINE'] as const
    const before = names.map((n) => process.env[n])
    Object.assign(process.env, { HF_HOME: path.join(folder, 'home'), HF_ENDPOINT: hub.url, HF_HUB_OFFLINE: '0' })
    try {
      const checked = await here('check', job)
      assert.equal(checked.code, 0, checked.err)
      assert.match(checked.out, /12 rows/)
      assert.equal(hub.large.filter((l) => l.range === undefined).length, 1, 'the tokenizer, not the weights')
      const asked = await here('generate', job, '--prompt', 'Add')
      assert.equal(asked.code, 0, asked.err)
      const fetched = await here('download', ID)
      assert.match(fetched.out, /models--someone--tiny/)
      process.env['HF_HUB_OFFLINE'] = '1'
      const trained = await here('train', job, '--output-directory', path.join(folder, 'results'))
      assert.equal(trained.code, 0, trained.err)
      const adapter = path.join(folder, 'results/experiment_run/model/model_weights')
      const said = JSON.parse(await fs.readFile(path.join(adapter, 'adapter_config.json'), 'utf8')) as Record<string, unknown>
      assert.deepEqual([said['base_model_name_or_path'], said['revision']], [ID, commitOf('a')])
      const card = await fs.readFile(path.join(adapter, 'README.md'), 'utf8')
      assert.ok(card.includes(`from_pretrained("${ID}", revision="${commitOf('a')}"`))
      assert.ok(!card.includes(folder))
      const pinned = path.join(folder, 'pinned.yaml')
      await fs.writeFile(pinned, (await fs.readFile(job, 'utf8')).replace(ID, `${ID}@${commitOf('a')}`))
      const planned = await here('compile', pinned, '-o', path.join(folder, 'plan.json'))
      assert.equal(planned.code, 0, planned.err)
      const again = await here('train', path.join(folder, 'plan.json'), '--output-directory', path.join(folder, 'pinned'))
      assert.equal(again.code, 0, again.err)
      const pinnedCard = await fs.readFile(path.join(folder, 'pinned/experiment_run/model/model_weights/README.md'), 'utf8')
      assert.match(pinnedCard, /base_model: "someone\/tiny"\n/)
      const own = await here('generate', path.join(folder, 'results/experiment_run'), '--prompt', 'Add')
      const named = path.join(folder, 'named.yaml')
      const text = await fs.readFile(job, 'utf8')
      await fs.writeFile(named, text.replace('{type: lora}', '{type: lora, pretrained_adapter_weights: someone/adapter}'))
      assert.match((await here('check', named)).err, /someone\/adapter is not in the cache[^]*named\.yaml:3/)
      process.env['HF_HUB_OFFLINE'] = '0'
      const files: Record<string, Uint8Array> = {}
      for (const n of ['adapter_config.json', 'README.md']) files[n] = await fs.readFile(path.join(adapter, n))
      hub.repos.set('models/someone/adapter', { files, commit: commitOf('x') })
      assert.match((await here('generate', named, '--prompt', 'Add')).err, /has no adapter_model\.safetensors/)
      files['adapter_model.safetensors'] = await fs.readFile(path.join(adapter, 'adapter_model.safetensors'))
      const theirs = await here('generate', named, '--prompt', 'Add')
      assert.equal(theirs.code, 0, theirs.err)
      assert.equal(theirs.out, own.out)
      process.env['HF_HUB_OFFLINE'] = '1'
      assert.equal((await here('generate', job, '--prompt', 'Add')).out, asked.out)
      const gone = await here('download', 'someone/other')
      assert.match(gone.err, /HF_HUB_OFFLINE/)
      assert.equal((await here('download', 'nonsense')).code, 1)
      const alpaca = await here('check', job, '--dataset', 'ludwig://alpaca')
      assert.match(alpaca.err, /"ludwig:\/\/alpaca" is no address of a dataset[^]*hf:\/\/datasets/)
      process.env['HF_HUB_OFFLINE'] = '0'
      assert.match(right(await dsl.download(ID)()), /models--someone--tiny/)
      const rowsAt = right(await dsl.download('hf://datasets/someone/rows/a.csv')())
      const answered = await here('generate', job, '--dataset', 'hf://datasets/someone/rows/a.csv', '--output', path.join(folder, 'out.jsonl'))
      assert.equal(answered.code, 0, answered.err)
      assert.match(rowsAt, /a\.csv$/)
    } finally {
      names.forEach((n, i) => {
        if (before[i] === undefined) delete process.env[n]
        else process.env[n] = before[i]
      })
    }
  })) // prettier-ignore
