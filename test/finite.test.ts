/** Numbers that are not finite, wherever they come from: named by tensor and index, never computed with in silence. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { exportModel } from '../src/adapter/full.ts'
import { mergeAdapter } from '../src/adapter/merge.ts'
import { importAdapter } from '../src/adapter/import.ts'
import type { Issue } from '../src/issue.ts'
import { fromF32 } from '../src/tensors/convert.ts'
import type { Dtype } from '../src/tensors/dtype.ts'
import { finiteBytes } from '../src/tensors/finite.ts'
import { openFile } from '../src/tensors/reader.ts'
import { writeFile } from '../src/tensors/writer.ts'
import { loadStates } from '../src/train/states.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { right } from './right.ts'
import {
  baseTensors,
  left,
  planFor,
  quiet,
  samplesOf,
  withBase,
  writeBase,
  yaml,
  type Tensor,
} from './train-job.ts'
import { tampered } from './train-watch.ts'

const GATE = 'model.layers.1.mlp.gate_proj.weight'
const NORM = 'model.norm.weight'
const QUERY = 'model.layers.0.self_attn.q_proj.weight'

/** The base with one number of one tensor replaced. */
const spoiled = (
  name: string,
  index: number,
  value: number,
  dtype: 'F32' | 'F16' | 'BF16' = 'F32',
): ReadonlyArray<Tensor> =>
  baseTensors(dtype).map((t) => {
    if (t.name !== name) return t
    const [one, data] = [fromF32(dtype, Float32Array.of(value)), Uint8Array.from(t.data)]
    data.set(one, index * one.length)
    return { ...t, data }
  })

/** Whether a pattern of bits is a finite number, by the definition of IEEE 754: the exponent is not all ones. */
const finite = (bits: number, exponentBits: number, fractionBits: number): boolean =>
  Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits !== 2 ** exponentBits - 1

test('every 16-bit number is told finite or not, with its place', () => {
  for (const [dtype, exponentBits, fractionBits] of [
    ['F16', 5, 10],
    ['BF16', 8, 7],
  ] as const)
    for (let bits = 0; bits < 65536; bits++) {
      const bytes = new Uint8Array(Uint16Array.of(0, 0, 0, 0, bits, 0).buffer)
      const told = finiteBytes({ name: 'w', shape: [3, 2] }, dtype, bytes)
      if (finite(bits, exponentBits, fractionBits)) assert.equal(right(told), bytes)
      else assert.match(left(told).message, /^w holds (NaN|-?Infinity) at \[2, 0\]$/)
    }
})

test('wider numbers too, at any alignment; dtypes without such numbers pass', () => {
  const told = (dtype: Dtype, values: Float32Array | Float64Array, shift: number) => {
    const bytes = new Uint8Array(values.byteLength + shift).subarray(shift)
    bytes.set(new Uint8Array(values.buffer))
    return finiteBytes({ name: 'w', shape: [3], file: 'f' }, dtype, bytes)
  }
  for (const shift of [0, 1, 4])
    for (const value of [NaN, Infinity, -Infinity]) {
      const expected = `w holds ${value} at [1]`
      assert.equal(left(told('F32', Float32Array.of(-0, value, NaN), shift)).message, expected)
      assert.equal(left(told('F64', Float64Array.of(1e300, value, 0), shift)).message, expected)
    }
  right(told('F32', Float32Array.of(3.4e38, -1e-45, 0), 1))
  right(told('U8', Float32Array.of(NaN, NaN, NaN), 0))
})

const refused = async (tensors: ReadonlyArray<Tensor>, rest: string): Promise<Issue | undefined> =>
  withBase(async (folder) => {
    await fs.rm(path.join(folder, 'base'), { recursive: true })
    await writeBase(path.join(folder, 'base'), tensors)
    return left(await train(planFor(folder, yaml('', rest)), reference, quiet(folder).options)())[0]
  })

test('weights that are not finite are refused when they are loaded and when they are quantized', async () => {
  for (const dtype of ['F32', 'F16', 'BF16'] as const)
    for (const rest of ['', 'quantization: { bits: 4 }']) {
      const why = await refused(spoiled(GATE, 16 * 3 + 5, NaN, dtype), rest)
      assert.equal(why?.message, `${GATE} holds NaN at [3, 5]`)
      assert.equal(why?.path, GATE)
      assert.match(why?.file ?? '', /model\.safetensors$/)
    }
  const norm = await refused(spoiled(NORM, 7, -Infinity), '')
  assert.equal(norm?.message, `${NORM} holds -Infinity at [7]`)
})

test('weights that overflow when they are rounded to the compute dtype are refused', async () => {
  const why = await refused(spoiled(GATE, 2, 7e4), 'compiler: { compute_dtype: float16 }')
  assert.equal(why?.message, `${GATE} rounded to F16 becomes Infinity at [0, 2]`)
  assert.match(why?.hint ?? '', /bfloat16/)
})

test('weights whose scales overflow when they are quantized are refused', async () => {
  const huge = spoiled(GATE, 0, 3.4e38).map((t) =>
    t.name === GATE ? { ...t, data: fromF32('F32', new Float32Array(320).fill(3.4e38, 128)) } : t,
  )
  const why = await refused(huge, 'quantization: { bits: 4 }')
  assert.match(why?.message ?? '', /too large to be quantized/)
})

/** A small run's adapter, with one matrix filled with a number. */
const adapterOf = async (folder: string, value: number): Promise<string> => {
  const plan = planFor(folder, yaml())
  const { adapterFolder } = right(await train(plan, reference, quiet(folder).options)())
  const tensors = plan.program.state.filter((s) => s.role === 'train')
  right(
    await writeFile(
      path.join(adapterFolder!, 'adapter_model.safetensors'),
      tensors.map((s) => ({
        name: `base_model.model.${s.name}`,
        dtype: 'F32',
        shape: s.type.shape,
        data: fromF32('F32', new Float32Array(s.type.shape.reduce((a, b) => a * b, 1)).fill(value)),
      })),
    )(),
  )
  // As an adapter that was not written here.
  await fs.rm(path.join(adapterFolder!, 'SHA256SUMS'))
  return adapterFolder!
}

test('merging: overflow of the base dtype, and numbers of the base or adapter that are not finite', async () => {
  await withBase(async (folder) => {
    const merge = async (tensors: ReadonlyArray<Tensor>, adapter: string): Promise<string> => {
      await fs.rm(path.join(folder, 'base'), { recursive: true })
      await writeBase(path.join(folder, 'base'), tensors)
      const into = path.join(folder, 'merged')
      const why = left(await mergeAdapter(path.join(folder, 'base'), adapter, into)())
      assert.ok(!(await fs.readdir(folder)).includes('merged'))
      return why.message
    }
    const [adapter, small, broken] = [
      await adapterOf(folder, 300),
      await adapterOf(folder, 0.1),
      await adapterOf(folder, NaN),
    ]
    // 2/2 · 2 · 300 · 300 is beyond 65,504, and within bfloat16.
    assert.equal(
      await merge(baseTensors('F16'), adapter),
      `the merged ${QUERY} rounded to F16 becomes Infinity at [0, 0]`,
    )
    assert.equal(await merge(spoiled(NORM, 3, NaN, 'F16'), small), `${NORM} holds NaN at [3]`)
    assert.equal(await merge(spoiled(QUERY, 17, NaN), small), `${QUERY} holds NaN at [1, 1]`)
    assert.match(await merge(baseTensors(), broken), /q_proj\.lora_A\.weight holds NaN at \[0, 0\]/)
  })
})

test('an adapter that is not finite is not put into a session', async () => {
  await withBase(async (folder) => {
    const adapter = await adapterOf(folder, Infinity)
    const plan = planFor(folder, yaml())
    const session = right(await reference.prepare(plan.program)())
    const [why] = left(await importAdapter(session, plan.program, plan.techniques.lora!, adapter)())
    assert.match(why.message, /lora_A\.weight holds Infinity at \[0, 0\]/)
  })
})

test('a full model that its base dtype cannot hold is not written', async () => {
  await withBase(async (folder) => {
    const base = path.join(folder, 'base')
    await fs.rm(base, { recursive: true })
    await writeBase(base, baseTensors('F16'))
    const text = yaml().replace(/adapter:\n(  .*\n)+/, '')
    const plan = planFor(folder, text)
    const session = right(await reference.prepare(plan.program)())
    right(await initializePlan(plan, session)())
    right(await session.write(NORM, fromF32('F32', new Float32Array(16).fill(1e5, 9)))())
    const out = path.join(folder, 'out')
    const why = left(await exportModel(session, plan.program, 'base', base, out)())
    assert.equal(why.message, `${NORM} rounded to F16 becomes Infinity at [9]`)
  })
})

test('a file of states with a number that is not finite is not put into a session', async () => {
  await withBase(async (folder) => {
    const { program } = planFor(folder, yaml())
    const session = right(await reference.prepare(program)())
    const file = path.join(await adapterOf(folder, NaN), 'adapter_model.safetensors')
    const renamed = path.join(folder, 'states.safetensors')
    const held = right(await openFile(file)())
    const tensors = [...held.tensors.values()].map((t) => ({
      ...t,
      name: t.name.replace('base_model.model.', ''),
      data: () => held.read(t.name),
    }))
    right(await writeFile(renamed, tensors)())
    const why = left(await loadStates(session, program, ['train'], renamed)())
    assert.match(why.message, /lora_A\.weight holds NaN at \[0, 0\]$/)
  })
})

test('a test split whose loss is NaN fails the run and names the rows', async () => {
  await withBase(async (folder) => {
    const rows = { train: samplesOf(4), validation: [], test: samplesOf(3, 14) }
    const backend = tampered((fn, _, outs) =>
      fn === 'evaluate' ? { ...outs, nll: new Float32Array(outs['nll']!.length).fill(NaN) } : outs,
    )
    const [why] = left(await train(planFor(folder, yaml(), rows), backend, quiet(folder).options)())
    assert.match(why.message, /^the loss is NaN in line \d+/)
    assert.equal(why.file, 'rows.csv')
  })
})

test('`evaluate` that yields NaN fails', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    const from = path.join(import.meta.dirname, '../examples/code-instructions/base')
    const weights = await fs.readFile(path.join(from, 'model.safetensors'))
    const header = Number(weights.readBigUInt64LE(0))
    const entries = JSON.parse(weights.subarray(8, 8 + header).toString()) as Record<
      string,
      { readonly data_offsets: readonly [number, number] }
    >
    const [begin, end] = entries[NORM]!.data_offsets
    // The largest bfloat16: finite, and too large to compute with.
    for (let at = begin; at < end; at += 2) weights.writeUInt16LE(0x7f7f, 8 + header + at)
    await fs.writeFile(path.join(folder, 'base/model.safetensors'), weights)
    const { code, out, err } = await here('evaluate', job, '--split', 'full')
    assert.equal(code, 1)
    assert.equal(out, '')
    assert.match(err, /the loss is (NaN|Infinity) in line/)
  })
})
