import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadTf } from '../backends/tfjs/load.ts'
import { opsOn, type Tensor } from '../src/tfjs/index.ts'
import { right } from './right.ts'
import { noTfjs } from './tfjs-here.ts'
import { tfjsOpsSuite } from './tfjs-ops.ts'

if (noTfjs === false) tfjsOpsSuite("TensorFlow's own ops", () => opsOn(right(loadTf())))

test(
  'a tf without TensorFlow behind it is refused with what to pass instead',
  { skip: noTfjs },
  () => {
    const engine = { registry: {}, backendName: 'cpu', keep: (t: Tensor) => t, backend: null }
    assert.throws(
      () => opsOn({ engine: () => engine }),
      /pass what @tensorflow\/tfjs-node-gpu gives/,
    )
  },
)
