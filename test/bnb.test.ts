/** Bases that bitsandbytes has quantized: transformers' own files, bit for bit, and what is said of those that do not fit. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { reference } from '../backends/reference/index.ts'
import type { Session } from '../backends/backend.ts'
import { dequantize } from '../ir/encoding.ts'
import { isEncoded } from '../ir/type.ts'
import { parseConfig } from '../src/config/index.ts'
import type { Issue } from '../src/issue.ts'
import { planOf, type Plan } from '../src/plan/plan.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { promised } from '../src/train/state.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { right } from './right.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures/bnb')
const decoded = JSON.parse(
  await fs.readFile(path.join(fixtures, 'decoded.json'), 'utf8'),
) as Record<string, Record<string, string>>

const yaml = (base: string, quantization: string, more = ''): string => `model_type: llm
base_model: ${base}
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
adapter: { type: lora, r: 2, target_modules: [q_proj, v_proj]${more} }
${quantization}
trainer: { type: finetune }
compiler: { row_length: 16, micro_batch_rows: 1 }
`
const fourBits = (double: boolean): string =>
  `quantization: { bits: 4, bnb_4bit_use_double_quant: ${double} }`

const planned = (folder: string, quantization: string, more = '') =>
  planOf(right(parseConfig(yaml(folder, quantization, more), { file: 'job.yaml' })).config, {
    folder,
    clock: () => 0,
    device: null,
  })

const sha = (x: Float32Array): string =>
  createHash('sha256')
    .update(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))
    .digest('hex')

/** SHA-256 of what each quantized weight of a session decodes to. */
const decodedBy = async (plan: Plan, session: Session): Promise<Record<string, string>> => {
  const sums: Record<string, string> = {}
  for (const s of plan.program.state)
    if (isEncoded(s.type.dtype))
      sums[s.name] = sha(dequantize(s.type, right(await session.read(s.name)())))
  return sums
}

const eightBits = (threshold: number): string =>
  `quantization: { bits: 8, llm_int8_threshold: ${threshold} }`

for (const [name, words] of [
  ['double', fourBits(true)],
  ['single', fourBits(false)],
  ['mixed', fourBits(true)],
  ['eight', eightBits(2)],
] as const)
  test(`${name}: every weight decodes to what bitsandbytes decodes it to`, async () => {
    const plan = right(planned(path.join(fixtures, name), words))
    right(await promised(plan.base, plan.program)())
    const session = right(await reference.prepare(plan.program)())
    right(await initializePlan(plan, session)())
    assert.deepEqual(await decodedBy(plan, session), decoded[name])
  })

test('a weight that the files hold in 16 bits stays so, as in transformers', () => {
  for (const [name, words, dtype, pass] of [
    ['mixed', fourBits(true), 'nf4/64/256', 'quantize(nf4, block=64, double=256, except=1)'],
    ['eight', eightBits(2), 'int8', 'quantize(int8, threshold=2, except=1)'],
  ] as const) {
    const plan = right(planned(path.join(fixtures, name), words))
    const kept = 'model.layers.0.mlp.down_proj.weight'
    const types = new Map(plan.program.state.map((s) => [s.name, s.type.dtype]))
    assert.equal(types.get(kept), 'bf16')
    assert.equal(types.get(kept.replace('down', 'up')), dtype)
    assert.ok(plan.trace.some((t) => t.pass === pass))
  }
})

test('which weights are in 16 bits is read from the index of shards too', async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-bnb-'))
  const from = path.join(fixtures, 'mixed')
  const shard = 'model-00001-of-00001.safetensors'
  await fs.copyFile(path.join(from, 'config.json'), path.join(folder, 'config.json'))
  await fs.copyFile(path.join(from, 'model.safetensors'), path.join(folder, shard))
  const names = Object.keys(await readTensors(path.join(folder, shard)))
  const weight_map = Object.fromEntries(names.map((n) => [n, shard]))
  const index = path.join(folder, 'model.safetensors.index.json')
  await fs.writeFile(index, JSON.stringify({ weight_map }))
  const plan = right(planned(folder, fourBits(true)))
  assert.deepEqual(plan.base.packed, {
    bits: 4,
    double: true,
    plain: ['model.layers.0.mlp.down_proj.weight'],
  })
  const session = right(await reference.prepare(plan.program)())
  right(await initializePlan(plan, session)())
  assert.deepEqual(await decodedBy(plan, session), decoded['mixed'])
  await fs.rm(folder, { recursive: true })
})

test('on emulated CUDA the same', { skip: noCompiler }, async () => {
  const plan = right(planned(path.join(fixtures, 'double'), fourBits(true)))
  const [device, host] = [
    right(await emulated({ arch: 90, sms: 132, shared: 232448 }).prepare(plan.program)()),
    right(await reference.prepare(plan.program)()),
  ]
  assert.equal(
    right(await initializePlan(plan, device)()),
    right(await initializePlan(plan, host)()),
  )
  assert.deepEqual(await decodedBy(plan, device), decoded['double'])
})

test('a config that asks for another model than the quantized one is refused, with what to write', () => {
  const double = path.join(fixtures, 'double')
  const merge = ', postprocessor: { merge_adapter_into_base_model: true }'
  for (const [r, at, hint] of [
    [
      planned(double, ''),
      'quantization',
      /quantization: \{bits: 4, bnb_4bit_use_double_quant: true\}/,
    ],
    [planned(double, fourBits(false)), 'quantization.bnb_4bit_use_double_quant', /^write true,/],
    [
      planned(path.join(fixtures, 'single'), fourBits(true)),
      'quantization.bnb_4bit_use_double_quant',
      /^write false,/,
    ],
    [
      planned(path.join(fixtures, 'eight'), ''),
      'quantization',
      /quantization: \{bits: 8, llm_int8_threshold: 2\}/,
    ],
    [
      planned(path.join(fixtures, 'eight'), fourBits(true)),
      'quantization',
      /quantization: \{bits: 8, llm/,
    ],
    [planned(double, eightBits(6)), 'quantization', /quantization: \{bits: 4,/],
    [
      planned(path.join(fixtures, 'eight'), eightBits(6)),
      'quantization.llm_int8_threshold',
      /^write 2,/,
    ],
    [
      planned(double, fourBits(true), merge),
      'adapter.postprocessor.merge_adapter_into_base_model',
      /^leave it out,/,
    ],
  ] as const) {
    assert.ok(E.isLeft(r))
    assert.equal(r.left[0].path, at)
    assert.match(r.left[0].hint!, hint)
  }
})

interface Entry {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data: Buffer
}
type Tensors = Record<string, Entry>

const readTensors = async (file: string): Promise<Tensors> => {
  const all = await fs.readFile(file)
  const start = 8 + Number(all.readBigUInt64LE(0))
  const { __metadata__: _, ...entries } = JSON.parse(all.toString('utf8', 8, start))
  return Object.fromEntries(
    Object.entries(
      entries as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>,
    ).map(
      ([
        n,
        {
          dtype,
          shape,
          data_offsets: [a, b],
        },
      ]) => [n, { dtype, shape, data: all.subarray(start + a, start + b) }],
    ),
  )
}

const writeTensors = async (file: string, tensors: Tensors): Promise<void> => {
  let at = 0
  const entries = Object.entries(tensors).map(([n, { dtype, shape, data }]) => {
    const begin = at
    at += data.length
    return [n, { dtype, shape, data_offsets: [begin, at] }] as const
  })
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const parts = Object.values(tensors).map((t) => t.data)
  await fs.writeFile(file, Buffer.concat([length, json, ...parts]))
}

/** What loading says of a quantized model with its tensors changed; null where it loads. */
const saysOf = async (
  change: (t: Tensors) => Tensors,
  name = 'double',
  words = fourBits(true),
): Promise<Issue | null> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-bnb-'))
  try {
    const from = path.join(fixtures, name)
    await fs.copyFile(path.join(from, 'config.json'), path.join(folder, 'config.json'))
    const tensors = await readTensors(path.join(from, 'model.safetensors'))
    await writeTensors(path.join(folder, 'model.safetensors'), change(tensors))
    const plan = right(planned(folder, words))
    const session = right(await reference.prepare(plan.program)())
    const r = await initializePlan(plan, session)()
    return E.isLeft(r) ? r.left : null
  } finally {
    await fs.rm(folder, { recursive: true })
  }
}

const key = 'model.layers.0.mlp.up_proj.weight'
const state = `${key}.quant_state.bitsandbytes__nf4`
const over =
  (name: string, to: (e: Entry) => Entry) =>
  (t: Tensors): Tensors => ({ ...t, [name]: to(t[name]!) })
const described = (from: string, to: string) =>
  over(state, (e) => {
    const data = Buffer.from(e.data.toString().replace(from, to))
    return { ...e, shape: [data.length], data }
  })
const flipped = (name: string, at: number, to: number) =>
  over(name, (e) => ({ ...e, data: Buffer.from(e.data.map((b, i) => (i === at ? to : b))) }))

test('another storage dtype holds the same bytes', async () => {
  const as16 = over(key, (e) => ({ ...e, dtype: 'BF16', shape: [e.data.length / 2, 1] }))
  assert.equal(await saysOf(as16), null)
})

for (const [what, change, message] of [
  [
    'no scales',
    (t: Tensors) => {
      const { [`${key}.absmax`]: _, ...rest } = t
      return rest
    },
    /has no .*up_proj\.weight\.absmax/,
  ],
  [
    'scales of another dtype',
    over(`${key}.absmax`, (e) => ({ ...e, dtype: 'I8' })),
    /absmax is I8 of 40 bytes/,
  ],
  [
    'fewer codes',
    over(key, (e) => ({ ...e, shape: [1278, 1], data: e.data.subarray(2) })),
    /is U8 of 1278 bytes/,
  ],
  ['another codebook', flipped(`${key}.quant_map`, 4, 1), /quant_map is another table/],
  [
    'another map of scales',
    flipped(`${key}.nested_quant_map`, 9, 1),
    /nested_quant_map is another table/,
  ],
  [
    'an infinite scale',
    over(`${key}.nested_absmax`, (e) => ({
      ...e,
      data: Buffer.from(Float32Array.of(Infinity).buffer),
    })),
    /nested_absmax holds Infinity/,
  ],
  [
    'blocks of another size',
    described('"blocksize": 64', '"blocksize": 32'),
    /in blocks of 32\/256/,
  ],
  ['another shape', described('[40, 64]', '[64, 40]'), /has the shape \[64, 40\]/],
  ['no mean', described('nested_offset', 'nested_affset'), /the mean of its scales/],
  [
    'a mean of 16 bits',
    described('"nested_dtype": "float32"', '"nested_dtype": "float16"'),
    /the mean of its scales/,
  ],
  ['no JSON', described('{', '['), /description of a quantized weight cannot be read/],
  [
    '8-bit weights between them',
    (t: Tensors) => ({ ...t, [`${key.replace('up', 'other')}.SCB`]: t[`${key}.nested_absmax`]! }),
    /quantized already: it holds .*SCB/,
  ],
] as const)
  test(`refused: ${what}`, async () => {
    const i = await saysOf(change)
    assert.match(i?.message ?? 'nothing was said', message)
    assert.ok(i?.hint !== undefined && i.path !== undefined)
  })

const scb = key.replace('.weight', '.SCB')
for (const [what, change, message] of [
  [
    'no scales',
    (t: Tensors) => {
      const { [scb]: _, ...rest } = t
      return rest
    },
    // Without them it is a weight in a dtype that none is in.
    /I8/,
  ],
  [
    'scales of another length',
    over(scb, (e) => ({ ...e, shape: [39], data: e.data.subarray(4) })),
    /SCB is F32 \[39\]/,
  ],
  ['codes of another dtype', over(key, (e) => ({ ...e, dtype: 'U8' })), /weight is U8 \[40, 64\]/],
  [
    'another order than rows',
    over(`${key}_format`, (e) => ({ ...e, data: Buffer.of(2) })),
    /does not lie in rows: .*weight_format is 2/,
  ],
  [
    'an infinite scale',
    over(scb, (e) => ({ ...e, data: Buffer.from(new Float32Array(40).fill(Infinity).buffer) })),
    /SCB holds Infinity/,
  ],
] as const)
  test(`refused of 8 bits: ${what}`, async () => {
    const i = await saysOf(change, 'eight', eightBits(2))
    assert.match(i?.message ?? 'nothing was said', message)
    assert.ok(i?.path !== undefined)
  })
