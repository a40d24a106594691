/** The cuda backend's launch lists against transformers' numbers, without a GPU. */
import { test } from 'node:test'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { goldenSuite } from './golden.ts'

if (noCompiler === false) goldenSuite(emulated(cardOf('sm_75')!.target), 12)
else test('golden models on emulated CUDA', { skip: noCompiler }, () => {})
