/** A plan written and read is the same plan, or the reader says what has changed since. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { print } from '../ir/print.ts'
import { dsl } from '../src/dsl.ts'
import { isPlanFile } from '../src/plan/file.ts'
import type { Plan } from '../src/plan/plan.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { right } from './right.ts'

const written = async (folder: string): Promise<{ readonly plan: Plan; readonly file: string }> => {
  const plan = right(dsl.compile(await smallJob(folder)))
  const file = path.join(folder, 'plans', 'plan.json')
  right(await dsl.writePlan(plan, file)())
  return { plan, file }
}

const why = (file: string): string => {
  const read = dsl.readPlan(file)
  return E.isLeft(read) ? read.left.map((i) => i.message).join('\n') : 'it reads'
}

/** Changes one thing in the JSON of a plan. */
const edit = async (
  file: string,
  change: (json: Record<string, unknown>) => void,
): Promise<string> => {
  const json = JSON.parse(await fs.readFile(file, 'utf8')) as Record<string, unknown>
  change(json)
  const edited = path.join(path.dirname(file), 'edited.json')
  await fs.writeFile(edited, JSON.stringify(json))
  return why(edited)
}

test('all that a run needs comes back', async () =>
  inFolder(async (folder) => {
    const { plan, file } = await written(folder)
    const read = right(dsl.readPlan(file))
    assert.equal(print(read.program), print(plan.program))
    const { trace, program: _program, data, ...rest } = plan
    const { trace: steps, program: _same, data: again, ...others } = read
    assert.deepEqual(others, rest)
    assert.deepEqual(again!.samples, data!.samples)
    const text = (t: Plan['trace']) => t.map((s) => `${s.pass}\n${print(s.program)}`)
    assert.deepEqual(text(steps), text(trace))
    assert.deepEqual(await fs.readdir(path.dirname(file)), ['plan.json'])
  }))

test('it moves together with its job', async () =>
  inFolder(async (folder) => {
    await fs.mkdir(path.join(folder, 'a'))
    const { plan } = await written(path.join(folder, 'a'))
    await fs.rename(path.join(folder, 'a'), path.join(folder, 'b'))
    const read = right(dsl.readPlan(path.join(folder, 'b/plans/plan.json')))
    assert.equal(read.arenaBytes, plan.arenaBytes)
    assert.equal(read.folder, path.join(folder, 'b'))
  }))

/** The text with the first match changed; fails where there is none. */
const once = (text: string, from: RegExp, to: string): string => {
  assert.ok(from.test(text), String(from))
  return text.replace(from, to)
}

test('what this compiler does not make of the config is refused with the first difference', async () =>
  inFolder(async (folder) => {
    const { plan, file } = await written(folder)
    const lines = print(plan.program).split('\n')
    const whole = (j: Record<string, unknown>): string => j['program'] as string
    const changes: ReadonlyArray<
      readonly [what: string, change: (j: Record<string, unknown>) => unknown, first: RegExp]
    > = [
      [
        'overlapping offsets',
        (j) => (j['program'] = once(whole(j), /@2097152$/m, '@2096896')),
        /program, line 3 is ".* @2096896"/,
      ],
      [
        'a changed scale',
        (j) => (j['program'] = once(whole(j), /scale (%\d+) \{by=2\}/, 'scale $1 {by=3}')),
        /program, line \d+ is ".*scale %\d+ \{by=3\}/,
      ],
      [
        'deleted Adam updates',
        (j) => (j['program'] = once(whole(j), /(\n +update %adam\.[^\n]*)+/, '')),
        /program, line \d+ is "/,
      ],
      [
        'other heads',
        (j) => (j['program'] = whole(j).replaceAll(/heads=8, kvHeads=4/g, 'heads=4, kvHeads=2')),
        /program, line \d+ is ".*heads=4, kvHeads=2/,
      ],
      [
        'another op',
        (j) => (j['program'] = once(whole(j), /dot/, 'add')),
        /program, line \d+ is ".* add /,
      ],
      [
        'a line more',
        (j) => (j['program'] = `${whole(j)}// nothing\n`),
        new RegExp(`program, line ${lines.length} is`),
      ],
      ['no program', (j) => delete j['program'], /: program is absent/],
      ['an arena', (j) => (j['arenaBytes'] = 1), /: arenaBytes is 1$/],
      [
        'a peak',
        (j) => ((j['peaks'] as Record<string, number>)['micro'] = 1),
        /: peaks\.micro is 1$/,
      ],
      ['shapes', (j) => ((j['shapes'] as { rows: number }).rows = 3), /: shapes\.rows is 3$/],
      [
        'heads of the base',
        (j) => ((j['base'] as { spec: { heads: number } }).spec.heads = 4),
        /: base\.spec\.heads is 4$/,
      ],
      [
        'the config',
        (j) => (j['config'] = once(j['config'] as string, /alpha: 16/, 'alpha: 32')),
        /: techniques\.lora\.alpha is 16$/,
      ],
      ['the data left out', (j) => (j['data'] = null), /: data is null$/],
      ['a key more', (j) => (j['lr'] = 1), /: lr is 1$/],
    ]
    for (const [what, change, first] of changes) {
      const said = await edit(file, change)
      assert.match(said, /^the plan is not what this compiler makes of its config: /, what)
      assert.match(said, first, what)
    }
    assert.equal(await edit(file, () => {}), 'it reads')
  }))

test('changed data, a changed or missing base, another version: each is named', async () =>
  inFolder(async (folder) => {
    const { file } = await written(folder)
    assert.match(await edit(file, (j) => (j['version'] = 1)), /no plan that this version/)
    const data = path.join(folder, 'data.csv')
    const rows = await fs.readFile(data, 'utf8')
    await fs.writeFile(data, `${rows}more,rows\n`)
    assert.match(why(file), /of the data, data\.csv has changed/)
    await fs.writeFile(data, rows.replace('Add 1 ', 'Add 7 '))
    assert.match(why(file), /of the data, data\.csv has changed/)
    await fs.writeFile(data, rows)
    assert.equal(why(file), 'it reads')
    const tokenizer = path.join(folder, 'base/tokenizer.json')
    await fs.appendFile(tokenizer, '\n')
    assert.match(why(file), /of the base base, tokenizer\.json has changed/)
    await fs.rm(path.join(folder, 'base'), { recursive: true })
    assert.match(why(file), /no model folder "base"/)
  }))

test('the command writes one that it knows from a config, and that trains nothing without weights', async () =>
  inFolder(async (folder) => {
    const config = await smallJob(folder)
    const file = path.join(folder, 'plan.json')
    const made = await here('compile', config, '-o', file)
    assert.equal(made.code, 0, made.err)
    assert.ok(isPlanFile(file))
    assert.ok(!isPlanFile(config))
    const ran = await here('train', file, '--backend', 'reference', '--output-directory', folder)
    assert.equal(ran.code, 1)
    assert.match(ran.err, /safetensors/)
    const other = await here('train', file, '--dataset', path.join(folder, 'data.csv'))
    assert.match(other.err, /a plan is made for its own data/)
  }))
