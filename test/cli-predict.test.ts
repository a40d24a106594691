/** `tunec predict` over a tiny model: what it writes is what `generate` and `evaluate` say, and a file needs no answers. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'csv-parse/sync'
import { stringify } from 'yaml'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'

const config = {
  model_type: 'llm',
  base_model: 'base',
  input_features: [{ name: 'question', type: 'text' }],
  output_features: [{ name: 'reply', type: 'text' }],
  prompt: { task: 'count' },
  generation: { do_sample: false, max_new_tokens: 4 },
  trainer: { type: 'none' },
  compiler: { backend: 'reference', dataset: 'data.csv' },
}

const rows = Array.from(
  { length: 9 },
  (_, i) => [`how many ${i}`, i === 4 ? '' : String(i)] as const,
)

const job = async (folder: string): Promise<string> => {
  await writeModel(path.join(folder, 'base'), 3)
  const lines = (cells: ReadonlyArray<ReadonlyArray<string>>) =>
    cells.map((c) => `${c.join()}\n`).join('')
  await fs.writeFile(path.join(folder, 'data.csv'), lines([['question', 'reply'], ...rows]))
  await fs.writeFile(
    path.join(folder, 'asked.csv'),
    lines([['question'], ...rows.map(([q]) => [q])]),
  )
  const file = path.join(folder, 'job.yaml')
  await fs.writeFile(file, stringify(config))
  return file
}

type Line = Readonly<Record<string, unknown>>

const linesOf = async (file: string): Promise<ReadonlyArray<Line>> =>
  (await fs.readFile(file, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l) as Line)

test('predict: rows with answers and without, and the files that Ludwig names', async () =>
  inFolder(async (folder) => {
    const file = await job(folder)
    const at = (name: string) => path.join(folder, name)
    const data = ['--dataset', at('data.csv')]
    const ran = await here('predict', file, ...data, '-o', at('known'), '--format', 'jsonl')
    assert.equal(ran.code, 0, ran.err)
    assert.deepEqual((await fs.readdir(at('known'))).toSorted(), [
      'predictions.jsonl',
      'reply_predictions.csv',
      'reply_probabilities.csv',
      'reply_probability.csv',
      'reply_response.csv',
      'test_statistics.json',
    ])
    const known = await linesOf(at('known/predictions.jsonl'))
    assert.equal(known.length, rows.length)
    for (const k of known) {
      const [tokens, shares] = [
        k['reply_predictions'] as string[],
        k['reply_probabilities'] as number[],
      ]
      assert.equal(tokens.join(''), k['reply_response'])
      assert.ok(shares.length === tokens.length && shares.every((p) => p > 0 && p <= 1))
      const sum = shares.reduce((s, p) => s + Math.log(p), 0)
      assert.ok(Math.abs(sum - (k['reply_probability'] as number)) < 1e-9)
    }
    // The same answers as `generate` gives.
    await here('generate', file, ...data, '--output', at('answers.jsonl'))
    assert.deepEqual(
      known.map((k) => k['reply_response']),
      (await linesOf(at('answers.jsonl'))).map((a) => a['answer']),
    )
    // The same figures as `evaluate` gives, of the rows that have an answer.
    const evaluated = JSON.parse(
      (await here('evaluate', file, ...data, '--generate', '--json')).out,
    ) as Line
    const told = JSON.parse(await fs.readFile(at('known/test_statistics.json'), 'utf8')) as {
      readonly reply: Line
      readonly combined: Line
    }
    for (const [name, value] of Object.entries(told.reply))
      assert.equal(value, evaluated[name], name)
    assert.equal(told.combined['loss'], evaluated['loss'])
    assert.ok('exact_match' in told.reply)

    const blind = await here(
      'predict',
      file,
      '--dataset',
      at('asked.csv'),
      '-o',
      at('blind'),
      '--format',
      'csv',
    )
    assert.equal(blind.code, 0, blind.err)
    assert.match(blind.out, /^9 rows in all/)
    const read = parse(await fs.readFile(at('blind/predictions.csv')), { columns: true }) as Line[]
    assert.deepEqual(
      read.map((r) => r['reply_response']),
      known.map((k) => k['reply_response']),
    )
    assert.ok(!(await fs.readdir(at('blind'))).includes('test_statistics.json'))

    const split = await here('predict', file, '--split', 'test', '-o', at('split'), '--json')
    assert.equal((JSON.parse(split.out) as Line)['rows'], 3)
    assert.ok((await fs.readdir(at('split'))).includes('predictions.parquet'))
  }))

test('predict: what is missing is said', async () =>
  inFolder(async (folder) => {
    const file = await job(folder)
    await fs.writeFile(file, stringify({ ...config, compiler: { backend: 'reference' } }))
    const none = await here('predict', file, '-o', path.join(folder, 'out'))
    assert.match(none.err, /^error: there are no rows to answer[^]*name a file with --dataset/)
    const other = path.join(folder, 'other.csv')
    await fs.writeFile(other, 'query\nwhat\n')
    const lacks = await here('predict', file, '--dataset', other, '-o', path.join(folder, 'out'))
    assert.match(lacks.err, /the data has no column "question"/)
  }))

test('predict --compare: the base as it was beside the tuned model, adapter and full fine-tuning alike', async () =>
  inFolder(async (folder) => {
    const file = await job(folder)
    const lora = { type: 'lora', r: 2, dropout: 0 }
    const trainer = { type: 'finetune', epochs: 1, learning_rate: 0.05, batch_size: 2 }
    const at = (name: string) => path.join(folder, name)
    await here('predict', file, '--dataset', at('data.csv'), '-o', at('asked'), '--format', 'jsonl')
    const plain = await linesOf(at('asked/predictions.jsonl'))
    const never = await here('predict', file, '--compare', '-o', at('out'))
    assert.match(never.err, /^error: there is nothing to compare: this model was never tuned/)
    for (const [name, adapter] of [
      ['tuned', lora],
      ['full', null],
    ] as const) {
      await fs.writeFile(file, stringify({ ...config, adapter, trainer }))
      const trained = await here(
        'train',
        file,
        '--output-directory',
        folder,
        '--experiment-name',
        name,
      )
      assert.equal(trained.code, 0, trained.err)
      const results = at(`${name}_run`)
      const args = ['--dataset', at('data.csv'), '-o', at(`${name}-out`), '--format', 'jsonl']
      const ran = await here('predict', results, ...args, '--compare')
      assert.equal(ran.code, 0, ran.err)
      assert.match(ran.out, / +base +tuned\nloss +[\d.]+ +[\d.]+\n/)
      const rows = await linesOf(at(`${name}-out/predictions.jsonl`))
      assert.deepEqual(
        rows.map((r) => [r['reply_response_base'], r['reply_probability_base']]),
        plain.map((r) => [r['reply_response'], r['reply_probability']]),
      )
      const loss = async (from: string): Promise<number> =>
        (
          JSON.parse(await fs.readFile(at(`${name}-out/${from}`), 'utf8')) as {
            combined: { loss: number }
          }
        ).combined.loss
      assert.ok((await loss('test_statistics.json')) < (await loss('base_statistics.json')))
    }
  }))
