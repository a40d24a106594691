import { test } from 'node:test'
import { tfjs } from '../backends/tfjs/index.ts'
import { goldenSuite } from './golden.ts'
import { noTfjs } from './tfjs-here.ts'

if (noTfjs === false) goldenSuite(tfjs)
else test('golden models on the tfjs backend', { skip: noTfjs }, () => {})
