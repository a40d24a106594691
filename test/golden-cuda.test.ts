import { test } from 'node:test'
import { cuda } from '../backends/cuda/index.ts'
import { noGpu } from './cuda-here.ts'
import { goldenSuite } from './golden.ts'

if (noGpu === false) goldenSuite(cuda)
else test('golden models on the cuda backend', { skip: noGpu }, () => {})
