/** What `check` says of the data, `train` and `evaluate` say too, and the results keep it. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { here, inFolder } from './cli-child.ts'

const base = path.join(import.meta.dirname, '../examples/code-instructions/base')

const job = async (folder: string): Promise<string> => {
  const rows = Array.from({ length: 9 }, (_, i) => `Say the number ${i}.,It is ${i},x,${i % 3}`)
  rows.push('Say nothing.,NA,x,0', `Say ${'very '.repeat(40)}much.,no,x,0`)
  await fs.writeFile(
    path.join(folder, 'data.csv'),
    `instruction,output,weight,split\n${rows.join('\n')}\n`,
  )
  const file = path.join(folder, 'job.yaml')
  await fs.writeFile(
    file,
    [
      'model_type: llm',
      `base_model: ${JSON.stringify(base)}`,
      'adapter: {type: lora, r: 2, dropout: 0}',
      'input_features: [{name: instruction, type: text}]',
      'output_features: [{name: output, type: text}]',
      'preprocessing: {split: {type: fixed}, global_max_sequence_length: 30}',
      'trainer: {type: finetune, epochs: 1, batch_size: 4, learning_rate: 0.001}',
      'generation: {max_new_tokens: 2, do_sample: false}',
      'compiler: {dataset: data.csv}',
      '',
    ].join('\n'),
  )
  return file
}

const findings = (text: string): ReadonlyArray<string> =>
  text.split('\n').filter((line) => line.startsWith('!'))

test('findings are shown before a run, written into its results, and shown when it is evaluated', async () =>
  inFolder(async (folder) => {
    const file = await job(folder)
    const checked = findings((await here('check', file)).out)
    const about = [
      /1 row without an answer/,
      /nothing scored|whole answer/,
      /cut off at/,
      /"NA"/,
      /"weight"/,
    ]
    for (const it of about)
      assert.ok(
        checked.some((l) => it.test(l)),
        `${it} in ${checked.join('\n')}`,
      )
    const trained = await here('train', file, '--output-directory', folder, '--show', '1')
    assert.equal(trained.code, 0, trained.err)
    const before = trained.out.slice(0, trained.out.indexOf('prompt'))
    assert.deepEqual(findings(before), checked)
    const results = path.join(folder, 'experiment_run')
    const description = JSON.parse(
      await fs.readFile(path.join(results, 'description.json'), 'utf8'),
    ) as { readonly data_findings: ReadonlyArray<string> }
    assert.deepEqual(description.data_findings, checked)
    assert.match(trained.out, /! 3 answers ended at a limit \(generation\.max_new_tokens/)
    const evaluated = await here('evaluate', results, '--generate', '--json')
    assert.deepEqual(findings(evaluated.err), checked)
    const json = JSON.parse(evaluated.out) as Record<string, unknown>
    assert.deepEqual(
      [json['cut_prompts'], json['unfinished_answers'], json['data_findings']],
      [0, 3, checked],
    )
    const plain = await here('evaluate', results, '--generate')
    assert.match(plain.out, /! 3 answers ended at a limit/)
    const other = await here('evaluate', results, '--split', 'full')
    assert.doesNotMatch(other.err, /the column "split"/)
    const asked = path.join(folder, 'asked.csv')
    await fs.writeFile(asked, 'instruction\nSay 1.\nNone\n')
    const answered = await here('generate', results, '--dataset', asked)
    assert.match(
      answered.err,
      /! 1 row whose "instruction" says "None" and counts as missing.*: line 3/,
    )
    assert.match(answered.err, /! 1 row without a prompt, asked with <UNK>/)
    assert.match(answered.out, /prompt {2}<UNK>/)
  }))
