/** A session over the fake driver: the calls of a step, and what it gives back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { prepareOn } from '../backends/cuda/index.ts'
import { h100 } from '../backends/cuda/lower/text.ts'
import { profileGraphs } from '../backends/cuda/profile.ts'
import { builder } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { size, tensor } from '../ir/type.ts'
import { calls, fake, gpuOf, missing } from './cuda-fake.ts'
import { right } from './right.ts'

const skip = missing ?? false

/** Three inputs that are kept as state and returned, one of them large: no kernel is needed, which the fake could not run. */
const program = (): Program => {
  const b = builder()
  const types = { ids: tensor('i32', 3), rate: tensor('f32', 1), much: tensor('f32', 4000) }
  const state: ReadonlyArray<State> = Object.entries(types).map(([name, type]) => ({
    name: `kept.${name}`,
    type,
    role: 'cache',
    recipe: { _tag: 'fill', value: 0 },
  }))
  const given = Object.entries(types).map(([name, type]) => ({ name, id: b.input(name, type) }))
  const updates = given.map(({ name, id }) => ({ state: `kept.${name}`, id }))
  return { name: 'keep', state, fns: [b.done({ name: 'keep', outs: given, updates })] }
}

test(
  'a step is one launch of a graph and one wait, and a copy for each large output that is wanted',
  { skip },
  async () => {
    const s = right(prepareOn(gpuOf(), program()))
    // Inputs lie side by side: the graph begins with one copy, and ends with one for each small output.
    const captured = calls()
    const begun = captured.indexOf('cuStreamBeginCapture_v2')
    assert.deepEqual(captured.slice(begun + 1, captured.indexOf('cuStreamEndCapture')), [
      'cuMemcpyHtoDAsync_v2',
      ...[1, 2, 3].map(() => 'cuMemcpyDtoDAsync_v2'),
      'cuMemcpyDtoHAsync_v2',
      'cuMemcpyDtoHAsync_v2',
    ])
    const { inputs } = s.lowered.fns[0]!
    assert.deepEqual(
      inputs.map((p) => p.offset - inputs[0]!.offset),
      [0, 256, 512],
    )
    const feeds = {
      ids: Int32Array.of(4, -5, 6),
      rate: Float32Array.of(0.5),
      much: Float32Array.from({ length: 4000 }, (_, i) => i / 8),
    }
    right(s.feed('keep', feeds))
    assert.deepEqual(calls(), ['cuMemcpyHtoDAsync_v2', 'cuStreamSynchronize'])
    const small = right(await s.run('keep', feeds, ['ids', 'rate'])())
    assert.deepEqual(calls(), ['cuGraphLaunch', 'cuStreamSynchronize'])
    assert.deepEqual(Object.keys(small), ['ids', 'rate'])
    right(await s.run('keep', feeds)())
    assert.deepEqual(calls(), ['cuGraphLaunch', 'cuMemcpyDtoHAsync_v2', 'cuStreamSynchronize'])
    for (const [wrong, why] of [
      [{ ...feeds, ids: Int32Array.of(1) }, /%ids is i32\[3\], got 1 values/],
      [{ ids: feeds.ids, rate: feeds.rate }, /%much is f32\[4000\], got nothing/],
    ] as const) {
      const failed = await s.run('keep', wrong)()
      assert.ok(failed._tag === 'Left')
      assert.match(failed.left.message, why)
    }
    const odd = await s.run('keep', feeds, ['id'])()
    assert.ok(odd._tag === 'Left')
    assert.match(odd.left.message, /@keep has no output id, only ids, rate, much/)
    assert.deepEqual(calls(), [''], 'what is refused reaches no device')
    right(await s.close()())
    const closed = await s.run('keep', feeds)()
    assert.ok(closed._tag === 'Left')
    assert.match(closed.left.message, /the session is closed/)
    assert.equal(fake().live(), 0)
  },
)

test(
  'outputs are in memory of their own, and inputs are taken where the graph finds them',
  { skip },
  async () => {
    const p = program()
    const s = right(prepareOn(gpuOf(), p))
    const { outs, inputs } = s.lowered.fns[0]!
    // An output that is an input lies where it lay: what is staged comes back as it is without the graph running.
    assert.deepEqual(
      outs.map((o) => o.offset),
      inputs.map((i) => i.offset),
    )
    const feeds = (x: number) => ({
      ids: new Int32Array(3).fill(x),
      rate: Float32Array.of(x),
      much: new Float32Array(4000).fill(x),
    })
    right(s.feed('keep', feeds(3)))
    const first = right(await s.run('keep', feeds(3), ['much'])())
    right(s.feed('keep', feeds(4)))
    const second = right(await s.run('keep', feeds(4), ['much'])())
    for (const [outs, x] of [
      [first, 3],
      [second, 4],
    ] as const)
      assert.deepEqual(outs, { much: new Float32Array(size(p.state[2]!.type)).fill(x) })
    right(await s.close()())
  },
)

test(
  'a profile by graphs: one of each group and one of all, replayed and given back',
  { skip },
  async () => {
    const s = right(prepareOn(gpuOf(), program()))
    const feeds = {
      ids: Int32Array.of(1, 2, 3),
      rate: Float32Array.of(1),
      much: new Float32Array(4000),
    }
    const { graphs } = s.device.gpu.live()
    calls()
    const made = right(profileGraphs(s, 'keep', feeds, h100, (l) => `${l._tag} ${l.bytes}`, 5))
    const list = calls()
    const count = (name: string): number => list.filter((c) => c === name).length
    // Copies of 3, 1 and 4,000 words, each alone, and all three.
    assert.deepEqual(made.groups.map((g) => [g.group, g.launches]).toSorted(), [
      ['copy 24', 1],
      ['copy 32000', 1],
      ['copy 8', 1],
    ])
    assert.equal(count('cuStreamBeginCapture_v2'), 4)
    assert.equal(count('cuMemcpyDtoDAsync_v2'), 6)
    assert.equal(count('cuGraphLaunch'), 4 * 2 * 5)
    // The fake's clock goes on by one between two events, whatever is replayed.
    assert.deepEqual([made.wholeMs, ...made.groups.map((g) => g.ms)], [0.2, 0.2, 0.2, 0.2])
    assert.equal(s.device.gpu.live().graphs, graphs)
    right(await s.close()())
  },
)
