/** Adapters take turns on one base: each answers as it does alone, whatever its rank, its modules and its scale. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { importAdapter, openAdapter } from '../src/adapter/import.ts'
import { roomFor, takeTurn } from '../src/adapter/several.ts'
import { compileWith } from '../src/plan/program.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'
import { left, planFor, quiet, withBase, yaml } from './train-job.ts'

const kinds: Readonly<Record<string, string>> = {
  narrow: yaml(),
  wide: yaml()
    .replace('  r: 2', '  r: 3\n  use_rslora: true')
    .replace('q_proj, v_proj', 'k_proj, v_proj'),
  mixed: yaml()
    .replace('  r: 2', '  r: 1\n  alpha: 5\n  rank_pattern: { up_proj: 4 }')
    .replace('[q_proj, v_proj]', '[q_proj, up_proj]'),
}

const grid = (n: number, of: (i: number) => number) =>
  Int32Array.from({ length: n }, (_, i) => of(i))
const feeds = {
  tokens: grid(24, (i) => 3 + (i % 9)),
  positions: grid(24, (i) => i % 12),
  segments: grid(24, () => 1),
  targets: grid(24, (i) => 3 + ((i * 5) % 11)),
}

test('each gives what it gives alone', async () =>
  withBase(async (folder) => {
    const alone = new Map<string, { readonly adapter: string; readonly nll: ArrayLike<number> }>()
    for (const [name, text] of Object.entries(kinds)) {
      const plan = planFor(folder, text)
      const options = { ...quiet(folder).options, experimentName: name }
      const { adapterFolder } = right(await train(plan, reference, options)())
      const session = right(await reference.prepare(plan.program)())
      right(await initializePlan(plan, session)())
      right(await importAdapter(session, plan.program, plan.techniques.lora!, adapterFolder!)())
      const { nll } = right(await session.run('evaluate', feeds)())
      alone.set(name, { adapter: adapterFolder!, nll: nll! })
      right(await session.close()())
    }
    const plan = planFor(folder, yaml())
    const opened = new Map(
      await Promise.all(
        [...alone].map(async ([n, a]) => [n, right(await openAdapter(a.adapter)())] as const),
      ),
    )
    const room = right(roomFor([...opened.values()]))
    const { program } = right(
      compileWith(plan.base, { ...plan.techniques, lora: room }, plan.shapes, () => 0),
    )
    const session = right(await reference.prepare(program)())
    right(await initializePlan({ ...plan, program }, session)())
    // Twice round: nothing of one is left when the next one answers.
    for (const [name, { nll }] of [...alone, ...alone]) {
      right(await takeTurn(session, program, opened.get(name)!)())
      const gap = relativeError(right(await session.run('evaluate', feeds)())['nll']!, nll)
      assert.ok(gap < 1e-6, `${name}: ${gap}`)
    }
    const dora = planFor(folder, yaml().replace('  r: 2', '  r: 2\n  use_dora: true'))
    const options = { ...quiet(folder).options, experimentName: 'dora' }
    const other = right(await train(dora, reference, options)())
    const why = left(roomFor([right(await openAdapter(other.adapterFolder!)())]))
    assert.match(why.message, /more than low-rank products: it holds .*magnitude/)
    right(await session.close()())
  }))

const job = (adapter: string): string => `model_type: llm
base_model: base
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
prompt: { template: 'Q: {instruction} A:' }
adapter: { type: lora, dropout: 0, ${adapter} }
trainer: { type: finetune, epochs: 2, batch_size: 2, learning_rate: 0.3, skip_all_evaluation: true }
generation: { max_new_tokens: 4, do_sample: false }
compiler: { dataset: data.csv }
`

test('`generate --adapters`: the answers of each run', async () =>
  inFolder(async (folder) => {
    const at = (...names: ReadonlyArray<string>) => path.join(folder, ...names)
    await writeModel(at('base'), 3)
    const rows = Array.from({ length: 12 }, (_, i) => `Say ${i},${2 * i}`)
    await fs.writeFile(at('data.csv'), `instruction,output\n${rows.join('\n')}\n`)
    const runs = { one: 'r: 2', two: 'r: 4, use_rslora: true, target_modules: all-linear' }
    const answers = async (...args: ReadonlyArray<string>) => {
      const ran = await here(
        'generate',
        ...args,
        '--dataset',
        at('data.csv'),
        '--output',
        at('out.jsonl'),
      )
      assert.equal(ran.code, 0, ran.err)
      const lines = (await fs.readFile(at('out.jsonl'), 'utf8')).trim().split('\n')
      return lines.map((l) => JSON.parse(l) as Record<string, unknown>)
    }
    const alone: Array<Record<string, unknown>> = []
    for (const [name, adapter] of Object.entries(runs)) {
      await fs.writeFile(at(`${name}.yaml`), job(adapter))
      const ran = await here(
        'train',
        at(`${name}.yaml`),
        '--output-directory',
        at('results'),
        '--experiment-name',
        name,
      )
      assert.equal(ran.code, 0, ran.err)
      const own = await answers(at('results', `${name}_run`))
      alone.push(...own.map((a) => ({ ...a, adapter: at('results', `${name}_run`) })))
    }
    const both = await answers(at('results', 'one_run'), '--adapters', at('results', 'two_run'))
    assert.equal(both.length, 24)
    assert.deepEqual(both, alone)
    assert.notDeepEqual(
      both.slice(0, 12).map((a) => a['answer']),
      both.slice(12).map((a) => a['answer']),
    )
  }))
