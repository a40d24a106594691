/** Training goes on from an adapter: its settings win, its weights are where the run starts, and another one is another job. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { goOn } from '../src/train/start.ts'
import { train } from '../src/train/train.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'
import { left, planFor, quiet, weightsOf, withBase, yaml } from './train-job.ts'

const going = (adapter: string): string =>
  yaml().replace('  r: 2', `  r: 7\n  pretrained_adapter_weights: ${adapter}`)

const tensors = (adapter: string) => tensorsOf(path.join(adapter, 'adapter_model.safetensors'))

test('a run goes on from an adapter, whose own settings win', async () =>
  withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const first = path.join(folder, 'first')
    await fs.cp(done.adapterFolder!, first, { recursive: true })
    const plan = planFor(folder, going('first'))
    const settings = plan.techniques.lora
    assert.ok(settings?.kind === undefined)
    assert.deepEqual([settings?.r, settings?.alpha], [2, 4])
    const session = right(await reference.prepare(plan.program)())
    right(await initializePlan(plan, session)())
    right(await goOn(plan, session)())
    for (const s of plan.program.state.filter((x) => x.role === 'train')) {
      const bytes = right(await session.read(s.name)())
      const stored = tensors(first).get(`base_model.model.${s.name}`)!
      assert.deepEqual(new Float32Array(bytes.slice().buffer), stored, s.name)
    }
    right(await session.close()())
    const two = { ...quiet(folder).options, experimentName: 'second' }
    const second = right(await train(plan, reference, two)())
    assert.ok(second.history[0]!.running < done.history[0]!.running)
    assert.notDeepEqual(await weightsOf(second.adapterFolder!), await weightsOf(first))
  }))

test('a resumed run wants the adapter that it went on from', async () =>
  withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const first = path.join(folder, 'first')
    await fs.cp(done.adapterFolder!, first, { recursive: true })
    const plan = planFor(folder, going('first'))
    const two = { ...quiet(folder, { stop: () => true }).options, experimentName: 'second' }
    const stopped = right(await train(plan, reference, two)())
    const resume = quiet(folder, { resume: stopped.resultsFolder }).options
    const file = path.join(first, 'adapter_model.safetensors')
    const bytes = await fs.readFile(file)
    bytes[bytes.length - 2]! ^= 1
    await fs.rm(path.join(first, 'SHA256SUMS'))
    await fs.writeFile(file, bytes)
    const [why] = left(await train(plan, reference, resume)())
    assert.match(why.message, /the adapter that it went on from is another one/)
  }))

test('settings beside an adapter to go on from are said to have no effect', () => {
  const { notices } = right(parseConfig(going('first'), { file: 'job.yaml' }))
  const said = notices.map((n) => n.message).filter((m) => m.includes('pretrained'))
  assert.equal(said.length, 3)
  for (const key of ['r', 'dropout', 'target_modules'])
    assert.ok(
      said.some((m) => m.startsWith(`\`adapter.${key}\``)),
      said.join(),
    )
})

test('a folder without an adapter is refused where the config names it', async () =>
  withBase(async (folder) => {
    assert.throws(() => planFor(folder, going('nowhere')), /there is no adapter/)
  }))
