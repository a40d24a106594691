import { test } from 'node:test'
import { cuda } from '../backends/cuda/index.ts'
import { conformanceSuite } from './conformance.ts'
import { noGpu } from './cuda-here.ts'

if (noGpu === false) conformanceSuite(cuda)
else test('conformance of the cuda backend', { skip: noGpu }, () => {})
