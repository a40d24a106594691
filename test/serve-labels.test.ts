/** A model that predicts labels, served: the same as predict says, however rows come together. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { serving } from './serve-here.ts'

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
