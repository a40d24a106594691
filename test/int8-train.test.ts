/** Training steps over 8-bit weights with adapters: GPU launch lists, fused as they are, do what the definition does. */
import { test } from 'node:test'
import type { Backend } from '../backends/backend.ts'
import { decode } from '../backends/bytes.ts'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { model } from '../src/models/llama.ts'
import { pipeline } from '../src/pipeline.ts'
import { compile } from '../passes/pass.ts'
import { load, packedBatch, small, grid } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { holds } from './fc.ts'
import { relativeError } from './golden.ts'
import { stateTensor, worldOf } from './laws.ts'
import { adamw } from './programs.ts'
import { right } from './right.ts'

const program = (compute: 'f32' | 'bf16'): Program =>
  right(
    compile(
      pipeline({
        lora: { r: 4, alpha: 8, dropout: 0.1, targets: ['q_proj', 'v_proj', 'down_proj'] },
        quantize: { threshold: 1.5 },
        compute,
        optimizer: adamw,
        recompute: { _tag: 'layers' },
      }),
    )(right(model('small', small, { ...grid, generate: null }))),
  ).program

const results = async (backend: Backend, p: Program) => {
  const session = right(await backend.prepare(p)())
  const w = worldOf(7)
  await load(session, p.state, (s) => stateTensor(w, s))
  const losses: Array<number> = []
  for (const micro of [0, 1])
    losses.push(...right(await session.run('micro', packedBatch(micro))())['loss']!)
  const gradients = new Map<string, ArrayLike<number>>()
  for (const s of p.state.filter((x) => x.role === 'gradient'))
    gradients.set(s.name, decode(s.type, right(await session.read(s.name)())))
  right(await session.close()())
  return { losses, gradients }
}

const ampere = emulated({ arch: 80, sms: 108, shared: 166912 })
for (const [backend, compute, bound, skip] of [
  [onnx, 'f32', 1e-3, false],
  [ampere, 'f32', 1e-3, noCompiler],
  [ampere, 'bf16', 6e-2, noCompiler],
] as const)
  test(
    `${backend.name} in ${compute}: losses and gradients of two micro-steps`,
    { skip },
    async () => {
      const p = program(compute)
      const [got, want] = [await results(backend, p), await results(reference, p)]
      const off = relativeError(got.losses, want.losses)
      holds(off <= bound / 10, `losses ${got.losses.join()} instead of ${want.losses.join()}`)
      for (const [name, g] of want.gradients) {
        const gap = relativeError(got.gradients.get(name)!, g)
        holds(gap <= bound, `${name}: ${gap}`)
      }
    },
  )
