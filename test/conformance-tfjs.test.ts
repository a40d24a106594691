import { test } from 'node:test'
import { tfjs } from '../backends/tfjs/index.ts'
import { conformanceSuite } from './conformance.ts'
import { noTfjs } from './tfjs-here.ts'

if (noTfjs === false) conformanceSuite(tfjs)
else test('conformance of the tfjs backend', { skip: noTfjs }, () => {})
