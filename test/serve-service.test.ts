/** Serving without text: a model that predicts labels gives what predict says; requests that take too long, and what nobody expected. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { body } from '../src/serve/openai/reply.ts'
import { here, inFolder } from './cli-child.ts'
import { refusal, type Service } from '../src/serve/service.ts'
import { serverOf, type Limits } from '../src/serve/http.ts'
import { serving } from './serve-here.ts'
import { writeModel } from './effects-job.ts'

const plain: Service = {
  name: 'm',
  created: 0,
  posts: { '/v1/completions': async () => E.right(body({ said: true })) },
  inputs: ['x'],
  columns: ['y'],
  predict: async (rows) => E.right(rows.map((r) => [r['x']])),
  counts: () => ({ running: 0, waiting: 0 }),
  close: async () => {},
}

const withServer = async (
  more: Partial<Service>,
  limits: Partial<Limits>,
  use: (url: string, bugs: ReadonlyArray<unknown>) => Promise<void>,
): Promise<void> => {
  const bugs: Array<unknown> = []
  const server = serverOf(
    { ...plain, ...more },
    { body: 1000, time: null, ...limits },
    { origins: [], key: null },
    (e) => void bugs.push(e),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, bugs)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

const predict = (url: string, text = 'a'): Promise<Response> =>
  fetch(`${url}/predict`, { method: 'POST', body: new URLSearchParams({ x: text }) })

test('a request that takes too long is stopped and told so', () => {
  const never: Service['predict'] = (_, signal) =>
    new Promise((resolve) =>
      signal.addEventListener('abort', () => resolve(E.left(refusal(504, 'too long')))),
    )
  return withServer({ predict: never }, { time: 5 }, async (url) => {
    const r = await predict(url)
    assert.deepEqual([r.status, await r.json()], [504, { error: 'too long' }])
  })
})

test('a bug is reported to who runs the server, and to the client as its fault, without a trace', () => {
  const broken: Service['predict'] = async () => {
    throw new Error('at /secret/place')
  }
  return withServer({ predict: broken }, {}, async (url, bugs) => {
    const r = await predict(url)
    assert.equal(r.status, 500)
    assert.ok(!(await r.text()).includes('secret'))
    assert.equal(bugs.length, 1)
    assert.equal((await fetch(`${url}/health`)).status, 200, 'it goes on')
  })
})

test('a body that grows beyond the limit is not read to its end', () =>
  withServer({}, { body: 100 }, async (url) => {
    assert.equal((await predict(url)).status, 200)
    assert.equal((await predict(url, 'a'.repeat(200))).status, 413)
    // Without a length it is counted while it comes.
    const chunks = new ReadableStream({
      start: (c) => {
        for (let i = 0; i < 9; i++) c.enqueue(new TextEncoder().encode('x'.repeat(50)))
        c.close()
      },
    })
    const r = await fetch(`${url}/v1/completions`, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit)
    assert.equal(r.status, 413)
  })) // prettier-ignore

const texts = Array.from({ length: 12 }, (_, i) => `${'xyz'[i % 3]} number ${i}`)

const write = async (folder: string): Promise<string> => {
  await writeModel(path.join(folder, 'base'), 5)
  const rows = texts.map((t, i) => `${t},${'abc'[i % 3]},${i},${i < 8 ? 0 : 1}`)
  await fs.writeFile(path.join(folder, 'data.csv'), `text,kind,size,split\n${rows.join('\n')}\n`)
  const job = path.join(folder, 'job.yaml')
  await fs.writeFile(
    job,
    [
      'model_type: ecd',
      'input_features: [{name: text, type: text, encoder: {type: llm, base_model: base}}]',
      'output_features: [{name: kind, type: category}, {name: size, type: number}]',
      'preprocessing: {split: {type: fixed, column: split}}',
      'trainer: {epochs: 1, learning_rate: 0.01}',
      'compiler: {dataset: data.csv, backend: reference}',
      '',
    ].join('\n'),
  )
  return job
}

const near = (a: unknown, b: unknown, at: string): void => {
  if (typeof a === 'number' && typeof b === 'number') assert.ok(Math.abs(a - b) < 1e-5, `${at}: ${a} ${b}`)
  else if (Array.isArray(a) && Array.isArray(b)) a.forEach((x, i) => near(x, b[i], `${at}.${i}`))
  else assert.equal(a, b, at)
} // prettier-ignore

test('rows get what predict gives them, one by one, side by side and as a table', () =>
  inFolder(async (folder) => {
    const job = await write(folder)
    const trained = await here('train', job, '--output-directory', folder)
    assert.equal(trained.code, 0, trained.err)
    const run = path.join(folder, 'experiment_run')
    const out = path.join(folder, 'out')
    const file = path.join(folder, 'ask.csv')
    await fs.writeFile(file, `text\n${texts.join('\n')}\n`)
    const told = await here('predict', run, '--dataset', file, '-o', out, '--format', 'jsonl', '--backend', 'reference')
    assert.equal(told.code, 0, told.err)
    const expected = (await fs.readFile(path.join(out, 'predictions.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l) as Record<string, unknown>)

    const s = await serving(run)
    try {
      const ask = async (text: string): Promise<Record<string, unknown>> => {
        const r = await fetch(`${s.url}/predict`, { method: 'POST', body: new URLSearchParams({ text }) })
        assert.equal(r.status, 200)
        return (await r.json()) as Record<string, unknown>
      }
      const all = await Promise.all(texts.map(ask))
      all.forEach((row, i) => {
        assert.deepEqual(Object.keys(row).toSorted(), Object.keys(expected[i]!).toSorted())
        for (const [name, value] of Object.entries(row)) near(value, expected[i]![name], `${i} ${name}`)
      })
      near((await ask(texts[3]!))['size_predictions'], expected[3]!['size_predictions'], 'alone')

      const form = new FormData()
      form.set('dataset', JSON.stringify({ columns: ['text'], data: texts.map((t) => [t]) }))
      const table = (await (await fetch(`${s.url}/batch_predict`, { method: 'POST', body: form })).json()) as
        { columns: ReadonlyArray<string>; data: ReadonlyArray<ReadonlyArray<unknown>> }
      table.data.forEach((row, i) => row.forEach((v, k) => near(v, expected[i]![table.columns[k]!], `${i}`)))

      const refused = async (body: Record<string, string>) => {
        const r = await fetch(`${s.url}/predict`, { method: 'POST', body: new URLSearchParams(body) })
        return [r.status, ((await r.json()) as { error: string }).error] as const
      }
      assert.match((await refused({ other: 'x' }))[1], /Missing features: text/)
      assert.match((await refused({ text: 'x'.repeat(90) }))[1], /row 1 has 91 tokens, and a row may have 64/)
      const chat = await fetch(`${s.url}/v1/chat/completions`, { method: 'POST', body: '{}' })
      assert.equal(chat.status, 400)
      assert.match(await chat.text(), /predicts labels and writes no text/)
      assert.deepEqual(await (await fetch(`${s.url}/health`)).json(), { status: 'ok', running: 0, waiting: 0 })
    } finally {
      s.interrupt()
      assert.equal(await s.stopped, 0)
    }
  })) // prettier-ignore
