/** Generation on a GPU with the kernels for few rows, at every way of splitting them, against the definition. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { test } from 'node:test'
import type { Backend } from '../backends/backend.ts'
import { asBackendError } from '../backends/cuda/failure.ts'
import { cuda, open, targetOf } from '../backends/cuda/index.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { openSession } from '../backends/cuda/session.ts'
import { noGpu } from './cuda-here.ts'
import { agree, plainRules, small } from './generation-lists.ts'

const plain: Backend = {
  ...cuda,
  name: 'cuda without the rules for few rows',
  prepare: (p) => async () =>
    pipe(
      open(),
      E.chain((gpu) => openSession(gpu, lower(p, targetOf(gpu), plainRules))),
      E.mapLeft(asBackendError),
    ),
}
/** So many rows of weights that a block of threads takes several tiles. */
const wide = { ...small, intermediate: 4480 }
const qkv = ['q_proj', 'k_proj', 'v_proj']

for (const [compute, batch, targets] of [
  ['bf16', 1, qkv],
  ['bf16', 2, ['o_proj', 'gate_proj', 'down_proj']],
  ['bf16', 8, qkv],
  ['bf16', 9, ['down_proj', 'up_proj']],
  ['bf16', 16, qkv],
  ['bf16', 17, ['q_proj', 'gate_proj', 'up_proj', 'down_proj']],
  ['bf16', 32, qkv],
  ['f16', 1, ['q_proj', 'down_proj']],
  ['f16', 32, ['gate_proj', 'o_proj']],
] as const)
  test(`generation by few rows: ${compute}, batch ${batch}`, { skip: noGpu }, () =>
    agree(wide, compute, { batch, prompt: 2, capacity: 520 }, targets, cuda, plain),
  )
