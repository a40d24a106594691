/** TensorFlow's device over a fake driver: what it counts, what it refuses, what it gives back; and every way of not having it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import koffi from 'koffi'
import { roomOf } from '../backends/cuda/driver/memory.ts'
import { tfHost } from '../backends/tfjs/device.ts'
import { LIBRARIES, packageIn, pluginIn } from '../backends/tfjs/places.ts'
import { callInside, readInside } from '../backends/tfjs/tensors.ts'
import { DT, type Attr } from '../backends/tfjs/tf.ts'
import { packedBatch, trained } from './conformance.ts'
import { fake, folder } from './cuda-fake.ts'
import { right } from './right.ts'
import {
  compiledOnHostMemory,
  fakeHost,
  MEMORY,
  newTfHost,
  noPlugin,
  onHostMemory,
} from './tfjs-plugin.ts'

const skip = noPlugin
const binding = () => fakeHost().backend.binding
const counts = () => fakeHost().plugin!.counts()
const ids = (): number => binding().getNumOfTensors()
const bytesHeld = (): number =>
  (fakeHost().engine as unknown as { memory: () => { numBytes: number } }).memory().numBytes
const int = (name: string, value: unknown): Attr => ({ name, type: binding().TF_ATTR_INT, value })
const type = (name: string, value: number): Attr => ({ name, type: binding().TF_ATTR_TYPE, value })

test('the device is there, and its memory is what tf.memory() says', { skip }, () => {
  assert.equal(fakeHost().backend.isUsingGpuDevice, true)
  const [before, held] = [counts(), bytesHeld()]
  const tf = newTfHost()
  const address = right(tf.allocate(10_000_000))
  assert.equal(address % 256n, 0n)
  const bytes = Math.ceil(10_000_000 / 4096) * 4096
  assert.equal(bytesHeld() - held, bytes)
  assert.equal(counts().allocated, before.allocated + 1)
  right(tf.free(address))
  assert.equal(bytesHeld(), held)
  assert.equal(counts().freed, before.freed + 1)
})

test(
  'tensors go into an arena and come out, f32 and i32; outside it is an error and the process lives',
  { skip },
  () => {
    const tf = newTfHost()
    const first = ids()
    const arena = fakeHost().backend.getInputTensorIds([tf.tensorAt(right(tf.allocate(8192)))!])[0]!
    const made = [
      [DT.f32, Float32Array.of(1.5, -2, 3)],
      [DT.i32, Int32Array.of(7, -8, 9)],
    ] as const
    for (const [dtype, values] of made) {
      const x = binding().createTensor([3], dtype, values)
      const at = [int('offset', 4096)]
      binding().executeOp('TunecWrite', [type('T', dtype), ...at], [arena, x], 0)
      const read = [int('dims', [3]), type('dtype', dtype), ...at]
      const [y] = binding().executeOp('TunecRead', read, [arena], 1)
      assert.deepEqual([...binding().tensorDataSync(y!.id)], [...values])
      for (const offset of [8192 - 8, -4])
        assert.throws(
          () =>
            binding().executeOp(
              'TunecWrite',
              [type('T', dtype), int('offset', offset)],
              [arena, x],
              0,
            ),
          /outside the arena/,
        )
      for (const id of [x, y!.id]) binding().deleteTensor(id)
    }
    right(tf.close())
    assert.equal(ids(), first)
  },
)

test(
  'a step is one launch and no copy; ids, bytes and the fake are as before when it closes',
  { skip },
  async () => {
    const [first, held, live] = [ids(), bytesHeld(), fake().live()]
    const session = right(await onHostMemory.prepare(trained('f32', { _tag: 'none' }))())
    const before = counts()
    right(await session.run('micro', packedBatch(0))())
    const after = counts()
    assert.equal(after.launches, before.launches + 1)
    for (const c of ['uploads', 'readbacks', 'copies', 'allocated'] as const)
      assert.equal(after[c], before[c], c)
    right(await session.close()())
    assert.deepEqual([ids(), bytesHeld(), fake().live()], [first, held, live])
  },
)

test(
  'tensors go into a plan and come out of it without a copy through the host',
  { skip },
  async () => {
    const p = trained('f32', { _tag: 'none' })
    const inside = right(compiledOnHostMemory(p))
    const { backend } = fakeHost()
    const feeds = packedBatch(0)
    const { inputs } = p.fns.find((f) => f.name === 'micro')!
    const given = Object.fromEntries(
      inputs.map(({ name, type: { dtype, shape } }) => {
        const as = dtype === 'i32' ? DT.i32 : DT.f32
        const id = backend.binding.createTensor(shape, as, feeds[name]!.slice())
        return [name, backend.createOutputTensor({ id, dtype: as, shape })]
      }),
    )
    const before = counts()
    const { loss } = right(callInside(fakeHost(), inside, 'micro', given))
    const after = counts()
    assert.equal(after.launches, before.launches + 1)
    assert.equal(after.readbacks, before.readbacks)
    assert.equal(after.copies, before.copies + inputs.length + 1)
    assert.deepEqual(loss!.shape, [])
    assert.deepEqual(loss!.dataSync(), right(await inside.session.run('micro', feeds)())['loss'])
    const { state } = inside.session.lowered
    const { name } = p.state.find((x) => x.role === 'train')!
    const weight = right(readInside(fakeHost(), inside, name, state.get(name)!))
    const stored = right(await inside.session.read(name)())
    assert.deepEqual(new Uint8Array(weight.dataSync().slice().buffer), stored)
    const encoded = p.state.find((x) => x.type.dtype.startsWith('nf4'))!.name
    const refused = readInside(fakeHost(), inside, encoded, state.get(encoded)!)
    assert.match(E.isLeft(refused) ? refused.left.message : '', /is nf4.*no dtype of tfjs's/)
    const wrong = callInside(fakeHost(), inside, 'micro', { ...given, tokens: loss! })
    assert.ok(E.isLeft(wrong))
    assert.match(wrong.left.message, /%tokens is i32\[2, 8\], got float32 \[\]/)
    for (const t of [weight, loss!, ...Object.values(given)]) t.dispose()
    right(await inside.session.close()())
  },
)

test(
  'a launch that the driver refuses, and one that did not reach the device, are errors',
  { skip },
  () => {
    const tf = newTfHost()
    const none = tf.launch(1n)
    assert.equal(E.isLeft(none) ? none.left.name : 'ran', 'NO_ARENA')
    right(tf.allocate(64))
    fake().fail('cuGraphLaunch', 1)
    const refused = tf.launch(1n)
    assert.ok(E.isLeft(refused))
    assert.match(refused.left.message, /cuGraphLaunch: CUDA_ERROR_INVALID_VALUE \(1\)/)
    const still = counts()
    const blind = right(tfHost(fakeHost(), { ...fakeHost().plugin!, counts: () => still }))
    right(blind.allocate(64))
    fake().onLaunch(koffi.register(() => {}, koffi.pointer('fake_launched')))
    const missed = blind.launch(1n)
    assert.equal(E.isLeft(missed) ? missed.left.name : 'ran', 'NOT_ON_DEVICE')
    right(blind.close())
    right(tf.close())
  },
)

test(
  'memory that is not there is named with what is; a session that closes gives its own back to the driver',
  { skip },
  async () => {
    const p = trained('f32', { _tag: 'none' })
    const room = () => right(roomOf(fakeHost().plugin!.driver)).free
    right(newTfHost().close())
    const free = room()
    const session = right(await onHostMemory.prepare(p)())
    assert.ok(room() < free)
    right(await session.close()())
    assert.equal(room(), free)
    fake().memory(2 ** 22)
    const lacking = await onHostMemory.prepare(p)()
    fake().memory(MEMORY)
    assert.ok(E.isLeft(lacking))
    assert.equal(lacking.left.lacks, 'memory')
    assert.match(lacking.left.message, /the GPU has no 0.07 GB left/)
    assert.equal(room(), free)
  },
)

const child = (root: string, ...args: ReadonlyArray<string>) => {
  const script = path.join(import.meta.dirname, 'tfjs-child.ts')
  const r = spawnSync(process.execPath, ['--import', 'tsx', script, ...args], {
    encoding: 'utf8',
    env: { ...process.env, TUNEC_TFJS: root },
  })
  assert.equal(r.status, 0, r.stderr)
  return JSON.parse(r.stdout) as { message?: string; hint?: string; gpu?: boolean } & Record<
    string,
    unknown
  >
}

test(
  'no driver, no plugin, a wrong one of either, another TensorFlow already there',
  { skip },
  () => {
    const root = path.join(import.meta.dirname, '..', '.tfjs')
    const other = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-tfjs-'))
    fs.symlinkSync(path.join(root, 'node_modules'), path.join(other, 'node_modules'))
    const onCpu = { gpu: false, plugin: false, shared: null, sum: [3] }
    assert.deepEqual(child(root, 'none'), onCpu)
    assert.deepEqual(child(root, folder), { ...onCpu, gpu: true, plugin: true })
    assert.deepEqual(child(root, 'none', 'first'), { ...onCpu, shared: true })
    const without = child(root, folder, 'first')
    assert.match(without.message!, /has a GPU, and tfjs was loaded without the plugin/)
    assert.match(without.hint!, /`load` of 'tunec\/tfjs' .*CUDA_VISIBLE_DEVICES=-1/)
    const unbuilt = child(other, folder)
    assert.match(
      unbuilt.message!,
      /has a GPU, and the plugin .* is not built; CUDA_VISIBLE_DEVICES=-1/,
    )
    assert.match(unbuilt.hint!, /npm run setup:tfjs/)
    fs.mkdirSync(path.dirname(pluginIn(other)))
    fs.writeFileSync(pluginIn(other), 'no library')
    assert.match(
      child(other, folder).message!,
      /cannot be loaded: .*libtunec_tfjs\.so: .*file too short/,
    )
    // A driver that is none shows no GPU; a TensorFlow that is none is named.
    const wrong = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-tfjs-'))
    fs.writeFileSync(path.join(wrong, 'libcuda.so.1'), 'no library')
    assert.deepEqual(child(root, wrong), onCpu)
    const [lib, whole] = [path.join(packageIn(wrong), 'deps', 'lib'), packageIn(root)]
    fs.mkdirSync(lib, { recursive: true })
    for (const f of ['package.json', 'lib'])
      fs.symlinkSync(path.join(whole, f), path.join(packageIn(wrong), f))
    for (const l of LIBRARIES) fs.writeFileSync(path.join(lib, l), 'no library')
    const untrue = child(wrong, 'none')
    assert.match(untrue.message!, /cannot be loaded: .*libtensorflow_framework\.so\.2: .*too short/)
    assert.match(untrue.hint!, /npm run setup:tfjs/)
    for (const f of [other, wrong]) fs.rmSync(f, { recursive: true })
  },
)
