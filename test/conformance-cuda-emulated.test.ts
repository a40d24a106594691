/** Lowering, placement and the kernels of the cuda backend without a GPU: Turing's for everything, those of later tensor cores in the model. */
import { test } from 'node:test'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { conformanceSuite, modelSuite } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'

if (noCompiler === false) {
  conformanceSuite(emulated(cardOf('sm_75')!.target))
  for (const arch of ['sm_80', 'sm_90a'])
    modelSuite(emulated(cardOf(arch)!.target), [
      'bf16',
      'f16',
      ...(arch === 'sm_90a' ? (['float8'] as const) : []),
    ])
} else test('conformance of emulated CUDA', { skip: noCompiler }, () => {})
