// npx tsx examples/tfjs-layers.ts
// A tfjs layers model whose large weight is frozen in NF4, with a LoRA trained beside it. Needs `npm run setup:tfjs`.
import { load, opsOn, type Nf4, type Tensor } from '../src/tfjs/index.ts'

/** As much of tfjs as is used here; a program that has the package uses its own types. */
interface Layer {
  readonly trainableWeights: ReadonlyArray<{ readonly shape: ReadonlyArray<number> }>
  addWeight: (
    name: string,
    shape: ReadonlyArray<number>,
    dtype: string,
    initializer: unknown,
  ) => { read: () => Tensor }
}
interface Model {
  readonly add: (layer: unknown) => void
  readonly compile: (o: object) => void
  readonly fit: (x: Tensor, y: Tensor, o: object) => Promise<{ history: { loss: number[] } }>
  readonly evaluate: (x: Tensor, y: Tensor) => Tensor
  readonly dispose: () => void
}
interface Tf {
  readonly sequential: () => Model
  readonly layers: {
    readonly Layer: new (config: object) => Layer
    readonly inputLayer: (o: object) => unknown
    readonly activation: (o: object) => unknown
  }
  readonly initializers: {
    readonly zeros: () => unknown
    readonly randomNormal: (o: object) => unknown
  }
  readonly train: { readonly adam: (rate: number) => unknown }
  readonly randomNormal: (shape: number[], m: number, s: number, d: string, seed: number) => Tensor
  readonly matMul: (a: Tensor, b: Tensor, ta?: boolean, tb?: boolean) => Tensor
  readonly add: (a: Tensor, b: Tensor) => Tensor
  readonly mul: (a: Tensor, b: number) => Tensor
  readonly tanh: (a: Tensor) => Tensor
  readonly tidy: <T>(f: () => T) => T
  readonly memory: () => { numTensors: number }
}

const tf = load<Tf>()
const ops = opsOn(tf)
const [width, units, rank, alpha] = [64, 64, 4, 8]

/** x·Wᵀ + (α/r)·(x·A)·B with W in NF4: A and B alone are trained. */
class Nf4Dense extends tf.layers.Layer {
  private readonly weight: Nf4
  private a: { read: () => Tensor } | null = null
  private b: { read: () => Tensor } | null = null
  constructor(weight: Nf4) {
    super({ name: 'nf4_dense' })
    this.weight = weight
  }
  build(): void {
    const normal = tf.initializers.randomNormal({ stddev: 1 / Math.sqrt(width), seed: 3 })
    this.a = this.addWeight('lora_a', [width, rank], 'float32', normal)
    this.b = this.addWeight('lora_b', [rank, units], 'float32', tf.initializers.zeros())
  }
  computeOutputShape([batch]: number[]): number[] {
    return [batch!, units]
  }
  call(inputs: Tensor | ReadonlyArray<Tensor>): Tensor {
    return tf.tidy(() => {
      const x = (Array.isArray(inputs) ? inputs[0] : inputs) as Tensor
      const beside = tf.matMul(tf.matMul(x, this.a!.read()), this.b!.read())
      return tf.add(ops.matMul(x, this.weight), tf.mul(beside, alpha / rank))
    })
  }
  getClassName(): string {
    return 'Nf4Dense'
  }
}

// A task that the frozen weight nearly does: its own product plus one of rank 4.
const dense = tf.randomNormal([units, width], 0, 1 / Math.sqrt(width), 'float32', 1)
const shift = tf.tidy(() =>
  tf.mul(
    tf.matMul(
      tf.randomNormal([units, rank], 0, 1, 'float32', 5),
      tf.randomNormal([rank, width], 0, 1, 'float32', 6),
    ),
    0.1,
  ),
)
const x = tf.randomNormal([256, width], 0, 1, 'float32', 2)
const y = tf.tidy(() => tf.tanh(tf.matMul(x, tf.add(dense, shift), false, true)))
const weight = ops.quantize(dense)
console.log(`weight      ${dense.size * 4} bytes in float32, ${weight.byteSize} in NF4`)

const model = tf.sequential()
model.add(tf.layers.inputLayer({ inputShape: [width] }))
model.add(new Nf4Dense(weight))
model.add(tf.layers.activation({ activation: 'tanh' }))
model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' })
const before = tf.tidy(() => model.evaluate(x, y).dataSync()[0]!)
const { history } = await model.fit(x, y, { epochs: 20, batchSize: 32, shuffle: false, verbose: 0 })
const after = tf.tidy(() => model.evaluate(x, y).dataSync()[0]!)
console.log(`loss        ${before.toFixed(4)} before, ${after.toFixed(4)} after 20 epochs`)
console.log(`first epoch ${history.loss[0]!.toFixed(4)}`)
model.dispose()
for (const t of [dense, shift, x, y, weight]) t.dispose()
