/** A whole model in 8 bits against transformers with bitsandbytes on a CPU (`fixtures/bnb/make.py`), outliers among its activations. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { planOf } from '../src/plan/plan.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'

const folder = path.join(import.meta.dirname, 'fixtures/bnb')
const { ids, nll } = JSON.parse(readFileSync(path.join(folder, 'eight.json'), 'utf8')) as {
  readonly ids: ReadonlyArray<number>
  readonly nll: ReadonlyArray<number>
}

const plan = right(
  planOf(
    right(
      parseConfig(
        `model_type: llm
base_model: ${path.join(folder, 'eight')}
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
quantization: { bits: 8, llm_int8_threshold: 2 }
trainer: { type: none }
compiler: { row_length: 16, micro_batch_rows: 1, compute_dtype: float32 }
`,
        { file: 'job.yaml' },
      ),
    ).config,
    { folder, clock: () => 0, device: null },
  ),
)

for (const backend of [reference, onnx])
  test(`${backend.name}: losses of every token are bitsandbytes’`, async () => {
    const session = right(await backend.prepare(plan.program)())
    right(await initializePlan(plan, session)())
    const got = right(
      await session.run('evaluate', {
        tokens: Int32Array.from(ids.slice(0, 16)),
        targets: Int32Array.from(ids.slice(1)),
        positions: Int32Array.from(ids.slice(1), (_, i) => i),
        segments: new Int32Array(16).fill(1),
      })(),
    )
    right(await session.close()())
    // What is off is their 1/127², by 1.8e-5, and what the roundings of values beside a half make of it.
    nll.forEach((want, i) =>
      holds(
        Math.abs(got['nll']![i]! - want) < 2e-4,
        `${got['nll']![i]} instead of ${want} at ${i}`,
      ),
    )
  })
