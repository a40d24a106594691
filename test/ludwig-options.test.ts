/** Ludwig's command lines: its names mean what they mean there, say that they mean nothing, or are refused. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { parseConfig } from '../src/config/index.ts'
import { commands } from '../src/cli/commands.ts'
import { rulesOf } from '../src/cli/ludwig/rules.ts'
import { translate } from '../src/cli/ludwig/translate.ts'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { right } from './right.ts'

/** The long names of a command's options. */
const longNames = (name: string): ReadonlyArray<string> =>
  commands.find((c) => c.name === name)!.options.map((o) => /--[\w-]+/.exec(o.flags)![0])

test('every rule leads to an option that its command has, and hides none of ours', () => {
  for (const { name, argument } of commands) {
    const own = longNames(name)
    const seen = new Set<string>()
    for (const { names, does } of rulesOf(name)) {
      if (does._tag === 'is') assert.ok(own.includes(does.option), `${name} ${does.option}`)
      if (does._tag === 'argument') assert.notEqual(argument, undefined, name)
      for (const n of names) {
        assert.ok(!seen.has(n), `${name} ${n} twice`)
        seen.add(n)
        // Where both have the name, it must not mean less here than it did.
        if (own.includes(n) && does._tag !== 'is') assert.fail(`${name} ${n} is ours`)
      }
    }
  }
})

test('options become ours: underscores, several letters, several values, the folder inside of results', () =>
  inFolder(async (folder) => {
    const results = path.join(folder, 'run')
    await fs.mkdir(path.join(results, 'model'), { recursive: true })
    await fs.writeFile(path.join(results, 'description.json'), '{}')
    const cases: ReadonlyArray<readonly [string, string]> = [
      ['train -c a.yaml -od out --experiment_name e --model_name=m', 'train a.yaml --output-directory out --experiment-name e --model-name=m'],
      ['train --config a.yaml -mrp r -rs 7 -b local', 'train a.yaml --resume r --random-seed 7 --backend auto'],
      [`predict -m ${results}/model/ -s training --output_directory=o`, `predict ${results} --split train --output o`],
      ['predict -m other/model -s full', 'predict other/model --split full'],
      ['serve -m r -ao http://a http://b -p 80 -t 5 -H 0.0.0.0', 'serve r --allowed-origins http://a,http://b -p 80 --prediction-timeout 5 -H 0.0.0.0'],
      ['upload hf_hub -r me/x -m r -t model -p', 'upload r -r me/x --repo-type model -p'],
      ['init_config -d d.csv -t a -o o.yaml', 'init-config d.csv --targets a -o o.yaml'],
      ['render_config -c c.yaml', 'render-config c.yaml'],
      ['experiment a.yaml --eval_split validation', 'experiment a.yaml --eval-split validation'],
      // Ours stay as they are.
      ['train a.yaml --resume r --show 3', 'train a.yaml --resume r --show 3'],
      ['generate r --prompt a_b', 'generate r --prompt a_b'],
      ['--version', '--version'],
    ] // prettier-ignore
    for (const [theirs, ours] of cases) {
      const { args, refused } = translate(theirs.split(' '))
      assert.equal(refused, null)
      assert.equal(args.join(' '), ours)
    }
    const idle = translate(['predict', '-m', 'r', '-bs', '8', '--logging_level', 'info', '-ssuo'])
    assert.equal(idle.args.join(' '), 'predict r')
    assert.deepEqual(idle.notes.map((n) => /Ludwig's (\S+) changes nothing/.exec(n)?.[1]), ['-bs', '--logging_level', '-ssuo'])
  })) // prettier-ignore

test('what cannot be followed is refused by name, with what to use', async () => {
  const cases: ReadonlyArray<readonly [string, RegExp]> = [
    ['train -c a --gpus 0 1', /--gpus is not taken here: CUDA_VISIBLE_DEVICES/],
    ['train -cs x', /-cs is not taken here: write it into a file/],
    ['train -c a --training_set x', /preprocessing\.split/],
    ['experiment -c a -kf 5', /-kf is not taken here/],
    ['predict -m r -gc g.yaml', /`generation`/],
    ['train -c a --wandb', /training_statistics/],
  ]
  for (const [line, why] of cases) {
    const { code, err } = await here(...line.split(' '))
    assert.equal(code, 2, line)
    assert.match(err, why)
  }
  const help = await here('predict', '--help')
  assert.match(help.out, /Ludwig's names are taken too: .*-m, --model_path/)
})

const writeJob = async (folder: string): Promise<string> => {
  await writeModel(path.join(folder, 'base'), 5)
  const rows = Array.from({ length: 12 }, (_, i) => `Add ${i},${2 * i},${i < 8 ? 0 : (i % 2) + 1}`)
  await fs.writeFile(
    path.join(folder, 'data.csv'),
    `instruction,output,split\n${rows.join('\n')}\n`,
  )
  const job = path.join(folder, 'job.yaml')
  const made = await here('init_config', '-d', path.join(folder, 'data.csv'), '-t', 'output', '--base-model', 'base', '-o', job) // prettier-ignore
  assert.equal(made.code, 0, made.err)
  return job
}

test('init_config makes a config that check takes, render_config shows all of it, experiment runs it', () =>
  inFolder(async (folder) => {
    const job = await writeJob(folder)
    const checked = await here('check', job)
    assert.equal(checked.code, 0, checked.err)
    assert.match(checked.out, /nothing stands in the way/)
    const text = await fs.readFile(job, 'utf8')
    assert.match(text, /dataset: data\.csv/)
    assert.match(text, /type: fixed/)

    const whole = path.join(folder, 'whole.yaml')
    assert.equal((await here('render_config', '-c', job, '-o', whole)).code, 0)
    const [short, long] = [text, await fs.readFile(whole, 'utf8')].map((y) => right(parseConfig(y, { file: 'x' })).config)
    assert.deepEqual(long, short)
    assert.equal((await here('render-config', job)).out.trimEnd(), (await fs.readFile(whole, 'utf8')).trimEnd())

    const results = path.join(folder, 'results')
    const edited = text.replace('max_new_tokens: 64', 'max_new_tokens: 4').replace('epochs: 3', 'epochs: 1')
    await fs.writeFile(job, edited)
    const line = ['experiment', '-c', job, '-od', results, '--experiment_name', 'e', '--model_name', 'm', '-rs', '7', '-es', 'validation', '--backend', 'reference', '--format', 'jsonl']
    const ran = await here(...line)
    assert.equal(ran.code, 0, ran.err)
    const run = path.join(results, 'e_m')
    const said = JSON.parse(await fs.readFile(path.join(run, 'description.json'), 'utf8')) as { random_seed: number }
    assert.equal(said.random_seed, 7)
    assert.match(ran.out, /rows of the validation split/)
    const answers = (await fs.readFile(path.join(run, 'predictions.jsonl'), 'utf8')).trim().split('\n')
    assert.equal(answers.length, 2)
    assert.equal((await here('generate', run, '--prompt', 'x', '--backend', 'reference')).code, 0, 'the run is still whole')

    await fs.writeFile(job, edited.replace('type: finetune', 'type: none').replace(/ {2}(epochs|learning_rate): .*\n/g, '').replace(/adapter:\n.*\n/, ''))
    const none = await here('experiment', '-c', job, '-od', results, '--model_name', 'none', '--backend', 'reference', '--format', 'jsonl')
    assert.equal(none.code, 0, none.err)
    assert.deepEqual((await fs.readdir(path.join(results, 'experiment_none'))).filter((n) => n === 'description.json'), [])
    assert.match(none.out, /rows of the test split/)

    for (const [args, why] of [
      [['-t', 'nothing'], /no column "nothing"/],
      [['-t', 'output', 'split'], /answers one column/],
      [[], /--targets is wanted/],
    ] as const)
      assert.match((await here('init_config', '-d', path.join(folder, 'data.csv'), ...args)).err, why)
  })) // prettier-ignore
