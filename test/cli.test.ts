/** The command as a person meets it: exit codes, what goes where, and what it says. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { backendNames } from '../src/backends.ts'
import { child, here, inFolder, smallJob } from './cli-child.ts'

const main = 'src/cli/main.ts'
const llama = 'examples/llama-2-7b/llama2_7b_4bit.yaml'

test('in a process of its own: help, usage, a problem, colours only where they are wanted', async () => {
  const [help, usage, problem, coloured] = await Promise.all([
    child([main, '--help']),
    child([main, 'trian', 'x.yaml']),
    child([main, 'check', 'nowhere.yaml']),
    child([main, 'check', 'nowhere.yaml'], { FORCE_COLOR: '1', NO_COLOR: '' }),
  ])
  assert.equal(help.code, 0)
  assert.equal(help.err, '')
  for (const name of [
    'train',
    'evaluate',
    'generate',
    'compile',
    'memory',
    'check',
    'profile',
    'doctor',
  ])
    assert.match(help.out, new RegExp(`^  ${name} `, 'm'))
  assert.equal(usage.code, 2)
  assert.match(usage.err, /unknown command 'trian'[^]*train/)
  assert.equal(problem.code, 1)
  assert.equal(problem.out, '')
  assert.match(problem.err, /^error: there is no such file\n {2}at nowhere\.yaml\n/)
  assert.ok(coloured.err.startsWith('\u001b[31m'))
})

const importing = /^(?:import|export)\s(?!type\b)[^'"]*?from\s'([^']+)'/gm

/** Packages that a module's static imports lead to. */
const packages = async (file: string, seen = new Set<string>()): Promise<ReadonlySet<string>> => {
  if (seen.has(file)) return seen
  seen.add(file)
  const text = await fs.readFile(file, 'utf8')
  for (const [, name] of text.matchAll(importing))
    if (name!.startsWith('.')) await packages(path.join(path.dirname(file), name!), seen)
    else seen.add(name!)
  return seen
}

test('what is heavy is loaded when it is needed', async () => {
  const atStart = await packages(main)
  assert.deepEqual(
    [...atStart].filter((n) => !n.endsWith('.ts') && !n.startsWith('node:')),
    ['commander'],
  )
  for (const name of ['check', 'memory', 'compile', 'train']) {
    const needed = await packages(`src/cli/${name}.ts`)
    assert.ok(needed.has('yaml'))
    for (const heavy of ['onnxruntime-node', 'protobufjs']) assert.ok(!needed.has(heavy), name)
  }
})

test('every subcommand shows an example; wrong usage is 2', async () => {
  for (const name of [
    'train',
    'evaluate',
    'generate',
    'compile',
    'memory',
    'check',
    'profile',
    'doctor',
  ]) {
    const { code, out } = await here(name, '--help')
    assert.equal(code, 0)
    assert.match(out, new RegExp(`Examples?:\\n {2}\\$ tunec ${name}`))
  }
  const wrong = [
    await here('train'),
    await here('memory', llama, '--budget', 'plenty'),
    await here('evaluate', 'x', '--split', 'tset'),
    await here('memory', llama, '--sequence-length', '0'),
  ]
  for (const r of wrong) {
    assert.equal(r.code, 2)
    assert.equal(r.out, '')
  }
  assert.match(wrong[1]!.err, /"plenty", expected an amount of memory such as 16GB/)
})

test('every backend there is can be asked for', async () => {
  for (const name of ['auto', ...backendNames])
    for (const command of ['train', 'evaluate', 'generate'])
      assert.equal((await here(command, 'nowhere', '--backend', name)).code, 1, name)
  assert.equal((await here('train', 'nowhere', '--backend', 'gpu')).code, 2)
})

test('memory: the ladder, and a budget that holds, that does not, and that nothing meets', async () => {
  const fits = await here('memory', llama, '--budget', '40GB', '--json')
  assert.equal(fits.code, 0)
  const ladder = JSON.parse(fits.out) as {
    rungs: ReadonlyArray<{ name: string }>
    fit: { fits: boolean; changes: ReadonlyArray<unknown> }
  }
  assert.deepEqual(
    ladder.rungs.map((r) => r.name),
    ['full fine-tuning in f32', '+ lora r=8', '+ nf4, double', '+ bf16'],
  )
  assert.deepEqual(ladder.fit, { budget: 40e9, fits: true, changes: [] })
  const tight = await here('memory', llama, '--budget', '16GB')
  assert.equal(tight.code, 1)
  assert.match(tight.out, /\+ nf4, double .* GB/)
  assert.match(tight.err, /needs 33\.\d\d GB, the budget is 16\.00 GB/)
  assert.match(tight.err, /any one of these makes it fit:\n +compiler\.memory_budget: 16GB {2}\(15/)
  await inFolder(async (folder) => {
    const hopeless = await here('memory', await smallJob(folder), '--budget', '1MB')
    assert.equal(hopeless.code, 1)
    assert.match(hopeless.err, /a smaller model is needed/)
  })
})

test('without data a row is as long as the context: memory, check and compile say why and what shortens it', async () =>
  inFolder(async (folder) => {
    const text = await fs.readFile(llama, 'utf8')
    const file = path.join(folder, 'long.yaml')
    const model = 'base_model: meta-llama/Llama-3.1-8B'
    await fs.writeFile(file, text.replace(/^base_model: .*$/m, model))
    const why =
      /rows +131,072 tokens are the whole context of the model, because no data is read; preprocessing\.global_max_sequence_length shortens them/
    for (const command of ['memory', 'check', 'compile'])
      assert.match((await here(command, file)).out, why, command)
    await fs.appendFile(file, '\npreprocessing: {global_max_sequence_length: 64}\n')
    for (const command of ['memory', 'check', 'compile'])
      assert.doesNotMatch((await here(command, file)).out, /whole context/, command)
    const short = await here('memory', llama, '--sequence-length', '64')
    assert.doesNotMatch(short.out, /whole context/)
  }))

test('memory: shapes from the command line, and a drawing', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const svg = path.join(folder, 'ladder.svg')
    const r = await here('memory', file, '--sequence-length', '64', '--batch', '3', '--svg', svg)
    assert.equal(r.code, 0, r.err)
    assert.match(r.out, /micro-batches of 3 rows of 64 tokens/)
    assert.match(await fs.readFile(svg, 'utf8'), /^<svg [^]*<\/svg>\n$/)
  }))

test('compile: stages on disk, a diff, a program after a pass, and a name that is none', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const ir = path.join(folder, 'ir')
    const dump = await here('compile', file, '--dump-ir', ir)
    assert.equal(dump.code, 0, dump.err)
    const names = await fs.readdir(ir)
    assert.deepEqual(names.slice(0, 3), ['00-forward.ir', '01-lora.ir', '02-quantize.ir'])
    const first = (await fs.readFile(path.join(ir, '01-lora.ir'), 'utf8')).split('\n')
    assert.match(
      first[0]!,
      /^\/\/ 01 lora\(r=8.* {2}keeps meaning {2}equations [\d,]+→[\d,]+ {2}state [\d,]+→/,
    )
    assert.equal(first[1], 'program @base {')
    const stop = await here('compile', file, '--stop-after', 'quantize')
    assert.equal(stop.out, await fs.readFile(path.join(ir, '02-quantize.ir'), 'utf8'))
    const diff = await here('compile', file, '--diff', 'lora')
    assert.equal(diff.code, 0)
    assert.match(diff.out, /^\+ +%5 = dot %3, %model\.layers\.0\.self_attn\.q_proj\.lora_A/m)
    assert.match(diff.out, /^@ layers\.1 … layers\.7: as in layers\.0$/m)
    const unknown = await here('compile', file, '--diff', 'lroa')
    assert.equal(unknown.code, 1)
    assert.match(unknown.err, /no pass "lroa"[^]*did you mean lora\?/)
  }))

test('compile: a plan above its own budget is written nowhere near a run', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder, 'memory_budget: 5MB')
    for (const command of ['compile', 'check', 'train']) {
      const { code, err } = await here(command, file)
      assert.equal(code, 1)
      assert.match(err, /the plan needs [\d.]+ MB, the budget is 5\.00 MB/)
    }
  }))

test('check reads config and data and runs nothing; doctor tells what works', async () =>
  inFolder(async (folder) => {
    const sound = await here('check', await smallJob(folder))
    assert.equal(sound.code, 0, sound.err)
    assert.match(sound.out, /LoRA r=8 alpha=16 on q_proj, v_proj: [\d,]+ parameters/)
    assert.match(sound.out, /data\.csv: 12 rows/)
    assert.match(
      sound.out,
      /the config is sound; to train, put the weights into .*base, which holds none/,
    )
    assert.deepEqual((await fs.readdir(folder)).toSorted(), ['base', 'data.csv', 'job.yaml'])
    const bare = await here('check', llama)
    assert.equal(bare.code, 0)
    assert.match(bare.out, /only the architecture of meta-llama\/Llama-2-7b-hf is known/)
    const doctor = await here('doctor')
    assert.match(doctor.out, /^ {2}reference +works/m)
    assert.match(doctor.out, /^gpu\n {2}driver +\S/m)
    assert.match(doctor.out, /^ {2}onnx +(works|does not work\n +\S)/m)
  }))

test('three mistakes in a config are shown together, each under its line', async () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'job.yaml')
    const lines = [
      'model_type: llm',
      'base_model: meta-llama/Llama-2-7b-hf',
      'adapter: {type: lora, rank: 8}',
      'input_features: [{name: instruction, type: text}]',
      'output_features: [{name: output, type: text}]',
      'trainer:',
      '  type: finetune',
      '  learning_rate: fast',
      '  epochs: 0',
    ]
    await fs.writeFile(file, `${lines.join('\n')}\n`)
    const { code, out, err } = await here('check', file)
    assert.equal(code, 1)
    assert.equal(out, '')
    const under = (line: number, column: number, word: string) =>
      `job.yaml:${line}:${column}\n  ${line} | ${lines[line - 1]}\n    | ${' '.repeat(column - 1)}${'^'.repeat(word.length)}\n`
    assert.ok(err.includes(under(3, 23, 'rank')), err)
    assert.ok(err.includes(under(8, 18, 'fast')), err)
    assert.ok(err.includes(under(9, 11, '0')), err)
    assert.match(err, /hint: did you mean `r`\?/)
    assert.match(err, /3 problems\n$/)
  }))

test('a problem found after reading still points at the line to blame', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const text = await fs.readFile(file, 'utf8')
    await fs.writeFile(file, text.replace('dropout: 0', 'target_modules: [q_porj]'))
    const wrong = await here('memory', file)
    assert.equal(wrong.code, 1)
    assert.match(wrong.err, /q_porj matches nothing[^]*job\.yaml:4:\d+[^]*expected: .*q_proj/)
    await fs.writeFile(file, text.replace('base_model: base', 'base_model: elsewhere'))
    const gone = await here('check', file)
    assert.equal(gone.code, 1)
    assert.match(gone.err, /no model folder "elsewhere".*\n {2}at .*job\.yaml:2:13\n/)
    await fs.writeFile(file, text.replace('name: output', 'name: answer'))
    const column = await here('check', file)
    assert.match(
      column.err,
      /the data has no column "answer"[^]*expected: one of "instruction", "output"/,
    )
  }))

test('a hub id that is not in the cache names what fetches it, and a folder of that name is preferred', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const text = await fs.readFile(file, 'utf8')
    await fs.writeFile(file, text.replace('base_model: base', 'base_model: someone/a-model'))
    const gone = await here('check', file)
    assert.equal(gone.code, 1)
    assert.match(
      gone.err,
      /someone\/a-model is not in the cache, and HF_HUB_OFFLINE[^]*at .*job\.yaml:2/,
    )
    await fs.cp(path.join(folder, 'base'), path.join(folder, 'someone/a-model'), {
      recursive: true,
    })
    assert.equal((await here('check', file)).code, 0)
    const known = await here('check', llama)
    assert.match(known.out, /tunec download meta-llama\/Llama-2-7b-hf/)
    const kept = await here('compile', llama, '-o', path.join(folder, 'plan.json'))
    assert.equal(kept.code, 0, kept.err)
  }))

test('a config that trains nothing is asked, and train leads to the command that asks', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const text = await fs.readFile(file, 'utf8')
    const asked = ['generate', file, '--prompt', 'Add 1 to 2'] as const
    await fs.writeFile(
      file,
      text.replace(/adapter: .*/, '').replace(/trainer: .*/, 'trainer: {type: none}'),
    )
    const none = await here('train', file)
    assert.match(
      none.err,
      /^error: this config trains nothing[^]*hint: ask the model as it is with/m,
    )
    assert.match((await here(...asked)).err, /^error: .*safetensors|holds no weights/m)
    await fs.writeFile(file, text.replace(/trainer: .*/, 'trainer: {type: finetune}'))
    // The weights, which this base lacks, are all that is missing now.
    assert.match((await here(...asked)).err, /^error: .*safetensors|holds no weights/m)
  }))
