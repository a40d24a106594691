/** As much of tfjs as is used, by structure: the package is optional, so its own types are not there to import. */

/** An attribute of a TensorFlow op, as the binding takes it. */
export interface Attr {
  readonly name: string
  readonly type: number
  readonly value: unknown
}

/** What an op gives: a raw tensor id with its type and shape. Ids are not counted by tfjs; whoever asks deletes them. */
export interface Meta {
  readonly id: number
  readonly dtype: number
  readonly shape: ReadonlyArray<number>
}

export interface Binding {
  readonly TF_Version: string
  readonly TF_ATTR_STRING: number
  readonly TF_ATTR_INT: number
  readonly TF_ATTR_FLOAT: number
  readonly TF_ATTR_BOOL: number
  readonly TF_ATTR_TYPE: number
  readonly TF_ATTR_SHAPE: number
  readonly createTensor: (shape: ReadonlyArray<number>, dtype: number, values: unknown) => number
  readonly deleteTensor: (id: number) => void
  readonly tensorDataSync: (id: number) => Float32Array | Int32Array | Uint8Array
  readonly executeOp: (
    name: string,
    attrs: ReadonlyArray<Attr>,
    inputs: ReadonlyArray<number>,
    outputs: number,
  ) => ReadonlyArray<Meta>
  readonly getNumOfTensors: () => number
}

/** TensorFlow's numbers of dtypes. */
export const DT = {
  f32: 1,
  f64: 2,
  i32: 3,
  u8: 4,
  i8: 6,
  i64: 9,
  bool: 10,
  bf16: 14,
  f16: 19,
  u32: 22,
} as const

/** A tf.Tensor. */
export interface Tensor {
  readonly dataId: object
  readonly shape: ReadonlyArray<number>
  readonly dtype: string
  readonly size: number
  readonly id: number
  readonly dispose: () => void
  readonly dataSync: () => Float32Array | Int32Array | Uint8Array
}

/** tfjs's backend over TensorFlow. */
export interface NodeBackend {
  readonly binding: Binding
  readonly isUsingGpuDevice: boolean
  readonly createOutputTensor: (meta: Meta) => Tensor
  readonly getInputTensorIds: (tensors: ReadonlyArray<Tensor>) => ReadonlyArray<number>
}

export interface Engine {
  readonly backendName: string
  readonly backend: unknown
  readonly registry: Readonly<Record<string, unknown>>
  readonly keep: (t: Tensor) => Tensor
}

/** The module. */
export interface Tf {
  readonly engine: () => Engine
}
