/** What a kernel sees of its equation, and the ONNX nodes that kernels are written with. */
import type { TensorType } from '../../ir/type.ts'
import type { Attributes, ModelBuilder, NodeOptions, Value } from './model.ts'

export interface Site<A> {
  readonly attrs: A
  readonly args: ReadonlyArray<Value>
  readonly types: ReadonlyArray<TensorType>
  readonly outs: ReadonlyArray<TensorType>
  readonly n: Nodes
}

/** Floats are f32 inside a model; 16-bit values are f32 that have been rounded. */
export interface Nodes {
  readonly one: (op: string, inputs: ReadonlyArray<Value>, a?: Attributes, o?: NodeOptions) => Value
  readonly many: (
    op: string,
    inputs: ReadonlyArray<Value>,
    outputs: number,
    a?: Attributes,
    o?: NodeOptions,
  ) => ReadonlyArray<Value>
  readonly f32: (shape: ReadonlyArray<number>, data: ArrayLike<number>) => Value
  readonly i32: (x: number) => Value
  readonly u32: (x: number) => Value
  readonly i64: (...xs: ReadonlyArray<number>) => Value
  /** 0, 1, … n−1 as i64. */
  readonly iota: (n: number) => Value
  readonly scalar: (x: number) => Value
  readonly double: (x: number) => Value
  /** A tensor of a plain type with one value everywhere. */
  readonly constantOf: (type: TensorType, x: number) => Value
  readonly filled: (shape: ReadonlyArray<number>, x: number) => Value
  readonly add: (a: Value, b: Value) => Value
  readonly sub: (a: Value, b: Value) => Value
  readonly mul: (a: Value, b: Value) => Value
  readonly div: (a: Value, b: Value) => Value
  readonly reshape: (x: Value, ...shape: ReadonlyArray<number>) => Value
  readonly transpose: (x: Value, ...perm: ReadonlyArray<number>) => Value
  readonly cast: (x: Value, to: number) => Value
  readonly slice: (x: Value, axis: number, from: number, to: number) => Value
  readonly concat: (axis: number, ...xs: ReadonlyArray<Value>) => Value
  readonly sumAxis: (x: Value, axis: number) => Value
  readonly sumAll: (x: Value) => Value
  /** alpha·A·B + C, operands read transposed as told. */
  readonly gemm: (a: Value, b: Value, o?: GemmOptions) => Value
  /** Batched product with transposes and a factor (onnxruntime's FusedMatMul). */
  readonly matmul: (
    a: Value,
    b: Value,
    o?: { readonly ta?: boolean; readonly tb?: boolean; readonly alpha?: number },
  ) => Value
}

export interface GemmOptions {
  readonly ta?: boolean
  readonly tb?: boolean
  readonly c?: Value
  readonly alpha?: number
}

/** TensorProto element types by number, for Cast. */
export const CAST = {
  f32: 1,
  u8: 2,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  bf16: 16,
  u16: 4,
  e4m3: 17,
  e5m2: 19,
} as const
export const microsoft: NodeOptions = { domain: 'com.microsoft' }
export const int = (x: number) => ({ int: x })
export const float = (x: number) => ({ float: x })
export const ints = (...xs: ReadonlyArray<number>) => ({ ints: xs })

const flag = (name: string, on: boolean | undefined): Attributes =>
  on === true ? { [name]: int(1) } : {}
const factor = (x: number | undefined): Attributes =>
  x === undefined || x === 1 ? {} : { alpha: float(x) }

/** `salt` keeps nodes of recomputed equations apart from the ones they repeat. */
export const nodesOf = (b: ModelBuilder, salt: string): Nodes => {
  const many: Nodes['many'] = (op, inputs, outputs, a = {}, o = {}) =>
    b.node(op, inputs, a, { ...o, outputs, salt })
  const one: Nodes['one'] = (op, inputs, a, o) => many(op, inputs, 1, a, o)[0]!
  const i64: Nodes['i64'] = (...xs) =>
    b.constant('int64', [xs.length], BigInt64Array.from(xs, BigInt))
  const filled: Nodes['filled'] = (shape, x) =>
    b.constant('float32', shape, new Float32Array(shape.reduce((p, d) => p * d, 1)).fill(x))
  const n: Nodes = {
    one,
    many,
    i64,
    filled,
    f32: (shape, data) => b.constant('float32', shape, Float32Array.from(data)),
    i32: (x) => b.constant('int32', [], Int32Array.of(x)),
    u32: (x) => b.constant('uint32', [], Uint32Array.of(x)),
    iota: (count) =>
      one(
        'Range',
        [0, count, 1].map((x) => b.constant('int64', [], BigInt64Array.of(BigInt(x)))),
      ),
    scalar: (x) => filled([], x),
    double: (x) => b.constant('float64', [], Float64Array.of(x)),
    constantOf: ({ dtype, shape }, x) =>
      dtype === 'i32'
        ? b.constant('int32', shape, new Int32Array(shape.reduce((p, d) => p * d, 1)).fill(x))
        : filled(shape, x),
    add: (x, y) => one('Add', [x, y]),
    sub: (x, y) => one('Sub', [x, y]),
    mul: (x, y) => one('Mul', [x, y]),
    div: (x, y) => one('Div', [x, y]),
    reshape: (x, ...shape) => one('Reshape', [x, i64(...shape)]),
    transpose: (x, ...perm) => one('Transpose', [x], { perm: ints(...perm) }),
    cast: (x, to) => one('Cast', [x], { to: int(to) }),
    slice: (x, axis, from, to) => one('Slice', [x, i64(from), i64(to), i64(axis)]),
    concat: (axis, ...xs) => (xs.length === 1 ? xs[0]! : one('Concat', xs, { axis: int(axis) })),
    sumAxis: (x, axis) => one('ReduceSum', [x, i64(axis)]),
    sumAll: (x) => one('ReduceSum', [x], { keepdims: int(0) }),
    gemm: (x, y, o = {}) =>
      one('Gemm', o.c === undefined ? [x, y] : [x, y, o.c], {
        ...flag('transA', o.ta),
        ...flag('transB', o.tb),
        ...factor(o.alpha),
      }),
    matmul: (x, y, o = {}) =>
      one(
        'FusedMatMul',
        [x, y],
        { ...flag('transA', o.ta), ...flag('transB', o.tb), ...factor(o.alpha) },
        microsoft,
      ),
  }
  return n
}
