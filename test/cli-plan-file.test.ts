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
    const { trace: _trace, program: _program, data, ...rest } = plan
    const { trace, program: _same, data: again, ...others } = read
    assert.deepEqual(others, rest)
    assert.deepEqual(again!.samples, data!.samples)
    assert.deepEqual(
      trace.map((s) => s.pass),
      ['plan'],
    )
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

test('changed data, a changed or missing base, an edited plan: each is named', async () =>
  inFolder(async (folder) => {
    const { file } = await written(folder)
    assert.match(await edit(file, (j) => (j['version'] = 2)), /no plan that this version/)
    assert.match(await edit(file, (j) => (j['arenaBytes'] = 1)), /do not go together/)
    assert.match(
      await edit(file, (j) => (j['program'] = (j['program'] as string).replace(/dot/, 'add'))),
      /program is not well formed: /,
    )
    assert.match(
      await edit(
        file,
        (j) => (j['config'] = (j['config'] as string).replace(/alpha: 16/, 'alpha: 32')),
      ),
      /config and its techniques do not go together/,
    )
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
