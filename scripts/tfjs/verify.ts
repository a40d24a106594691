/** Whether what setup:tfjs made runs: a product through the binding, in a process of its own. */
import * as E from 'fp-ts/lib/Either.js'
import { load } from '../../backends/tfjs/load.ts'
import { DT } from '../../backends/tfjs/tf.ts'

const host = load()
if (E.isLeft(host)) {
  console.error(host.left.message)
  process.exit(1)
}
const { binding, isUsingGpuDevice } = host.right.backend
const x = binding.createTensor([2, 2], DT.f32, Float32Array.of(1, 2, 3, 4))
const [product] = binding.executeOp('MatMul', [], [x, x], 1)
const got = [...binding.tensorDataSync(product!.id)]
if (got.join() !== '7,10,15,22') {
  console.error(`a product of TensorFlow's is wrong: ${got.join()}`)
  process.exit(1)
}
console.log(`TensorFlow ${binding.TF_Version} on the ${isUsingGpuDevice ? 'GPU' : 'CPU'}`)
