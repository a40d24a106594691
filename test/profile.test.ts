/** `tunec profile`: the table of made-up numbers, what a session is fed with, and the answer where no GPU works. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytes, isEncoded, size } from '../ir/type.ts'
import { parseConfig } from '../src/config/index.ts'
import { assumedDevice } from '../src/plan/device.ts'
import { planOf } from '../src/plan/plan.ts'
import { randomContents } from '../src/profile/contents.ts'
import { feedsOf, type Profiled } from '../src/profile/measure.ts'
import { groupsOf, profileJson, profileLines } from '../src/report/profile.ts'
import { plain } from '../src/report/style.ts'
import { decode } from '../backends/bytes.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { noGpu } from './cuda-here.ts'
import { right } from './right.ts'

const group = (name: string, launches: number, ms: number, floorMs: number) => ({
  group: name,
  launches,
  ms,
  floorMs,
})

const made: Profiled = {
  model: 'a-model',
  gpu: 'a card',
  microSteps: 4,
  rows: 1,
  length: 2048,
  ownData: false,
  ownWeights: true,
  steps: [900, 400, 410, 405, 395],
  predictedMs: 500,
  fns: [
    { fn: 'micro', calls: 4, groups: [group('product', 10, 60, 50), group('norm', 5, 20, 0)] },
    { fn: 'update', calls: 1, groups: [group('optimizer', 2, 1, 0.5), group('norm', 1, 19, 10)] },
  ],
  ceilings: { bytes: 3e12, flops: 8e14 },
  memory: { arenaBytes: 9e9, predictedBytes: 10e9, usedBytes: 10.1e9 },
}

test('groups of a step: a micro-step counts as often as it runs', () => {
  assert.deepEqual(groupsOf(made.fns), [
    { group: 'product', launches: 40, ms: 240, floorMs: 200, share: 240 / 340, ratio: 1.2 },
    { group: 'norm', launches: 21, ms: 99, floorMs: 10, share: 99 / 340, ratio: 9.9 },
    { group: 'optimizer', launches: 2, ms: 1, floorMs: 0.5, share: 1 / 340, ratio: 2 },
  ])
  assert.deepEqual(groupsOf([{ fn: 'f', calls: 1, groups: [group('other', 1, 0, 0)] }]), [
    { group: 'other', launches: 1, ms: 0, floorMs: 0, share: 0, ratio: null },
  ])
})

test('the table: launches, time, share, floor and ratio; predicted against measured', () => {
  const lines = profileLines(made, plain)
  const row = (name: string) => lines.find((l) => l.startsWith(`${name} `))!.split(/ +/)
  assert.deepEqual(row('product'), ['product', '40', '240.000', '70.6', '%', '200.000', '1.20×'])
  assert.deepEqual(row('all'), ['all', '63', '340.000', '100.0', '%', '210.500', '1.62×'])
  const text = lines.join('\n')
  assert.match(
    text,
    /^a-model on a card, 4 micro-steps of 1 row of 2,048 tokens a step; the base's weights, random tokens$/m,
  )
  // 8,192 tokens in 405 ms.
  assert.match(
    text,
    /^step +405\.00 ms, 20,227 tokens\/s: the middle of 5 steps; predicted 500\.00 ms, measured −19\.0 %$/m,
  )
  assert.match(
    text,
    /^memory +10\.10 GB .* predicted 10\.00 GB \(arena 9\.00 GB\), measured \+1\.0 %$/m,
  )
  const json = JSON.parse(JSON.stringify(profileJson(made))) as Record<string, unknown>
  assert.equal(json['stepMs'], 405)
  assert.deepEqual(json['groups'], groupsOf(made.fns))
})

const planned = (file: string, dataset: string | null) => {
  const { config } = right(parseConfig(readFileSync(file, 'utf8'), { file }))
  const asked = { ...config, compiler: { ...config.compiler, dataset } }
  return right(planOf(asked, { folder: path.dirname(file), clock: () => 0, device: assumedDevice }))
}

test('a session is fed what its functions take, from the job’s rows or without any', () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    for (const dataset of ['data.csv', null]) {
      const plan = planned(file, dataset)
      const micro = plan.program.fns.find((f) => f.name === 'micro')!
      const feeds = right(feedsOf(plan))
      assert.ok(feeds.length > 0)
      for (const f of feeds)
        for (const i of micro.inputs) assert.equal(f[i.name]!.length, size(i.type), i.name)
      const scored = feeds[0]!['targets']!.filter((x) => x >= 0)
      assert.ok(scored.length > 0 && scored.every((x) => x < plan.base.spec.vocab))
      for (const s of plan.program.state.filter((x) => x.role === 'frozen')) {
        const filled = randomContents(s)
        assert.equal(filled.length, bytes(s.type))
        if (isEncoded(s.type.dtype)) continue
        const values = decode(s.type, filled)
        assert.ok(values.some((x) => x !== 0) && values.every((x) => Math.abs(x) < 4), s.name)
      }
    }
  }))

test(
  'without a GPU it says so, and what shows the floors all the same',
  { skip: noGpu === false },
  () =>
    inFolder(async (folder) => {
      const { code, err, out } = await here('profile', await smallJob(folder))
      assert.equal(code, 1)
      assert.equal(out, '')
      assert.match(err, /nothing can be profiled: no GPU works here: .+[^]*compile --dump-kernels/)
    }),
)
