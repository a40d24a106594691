/** TensorFlow's ops as functions on raw tensor ids, with every id that they make noted, so that none is left behind. */
import type { Plain } from '../../ir/type.ts'
import { DT, type Attr, type Binding, type Meta } from './tf.ts'

/** A raw tensor. tfjs does not know of it: whoever made it deletes it. */
export type Value = Meta

export const dtypeOf: { readonly [K in Plain]: number } = {
  f32: DT.f32,
  f16: DT.f16,
  bf16: DT.bf16,
  i32: DT.i32,
  i8: DT.i8,
  u8: DT.u8,
  bool: DT.bool,
}

const size = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1)

/** Small constants, made once a session: shapes, axes, factors. */
export const constantsOf = (b: Binding) => {
  const known = new Map<string, Value>()
  const made = (key: string, dtype: number, shape: ReadonlyArray<number>, data: () => unknown) => {
    const value = known.get(key) ?? { id: b.createTensor(shape, dtype, data()), dtype, shape }
    known.set(key, value)
    return value
  }
  return {
    i32: (shape: ReadonlyArray<number>, xs: ReadonlyArray<number>): Value =>
      made(`i${shape.join()}:${xs.join()}`, DT.i32, shape, () => Int32Array.from(xs)),
    /** Named, where the values are too many to be a name. */
    f32: (shape: ReadonlyArray<number>, xs: ArrayLike<number>, name = Array.from(xs).join()) =>
      made(`f${shape.join()}:${name}`, DT.f32, shape, () => Float32Array.from(xs)),
    close: (): void => {
      for (const v of known.values()) b.deleteTensor(v.id)
      known.clear()
    },
  }
}
export type Constants = ReturnType<typeof constantsOf>

export interface Dot {
  readonly ta?: boolean
  readonly tb?: boolean
}

const attributes = (b: Binding) => ({
  type: (name: string, value: number): Attr => ({ name, type: b.TF_ATTR_TYPE, value }),
  flag: (name: string, value: boolean): Attr => ({ name, type: b.TF_ATTR_BOOL, value }),
  int: (name: string, value: number): Attr => ({ name, type: b.TF_ATTR_INT, value }),
  text: (name: string, value: string): Attr => ({ name, type: b.TF_ATTR_STRING, value }),
})

/** The vocabulary that kernels are written in. Types of operands are inferred by TensorFlow. */
export const nodesOf = (b: Binding, constants: Constants) => {
  const attr = attributes(b)
  let made: Array<Value> = []

  const remove = (values: ReadonlyArray<Value>, keep: ReadonlyArray<Value>): void => {
    const kept = new Set(keep.map((v) => v.id))
    for (const v of values) if (!kept.has(v.id)) b.deleteTensor(v.id)
  }

  const many = (
    name: string,
    args: ReadonlyArray<Value>,
    attrs: ReadonlyArray<Attr> = [],
    outputs = 1,
  ): ReadonlyArray<Value> => {
    const values = b.executeOp(
      name,
      attrs,
      args.map((a) => a.id),
      outputs,
    )
    made.push(...values)
    return values
  }
  const one = (name: string, args: ReadonlyArray<Value>, attrs: ReadonlyArray<Attr> = []): Value =>
    many(name, args, attrs)[0]!
  const binary = (name: string) => (x: Value, y: Value) => one(name, [x, y])
  const unary = (name: string) => (x: Value) => one(name, [x])
  const ints = (...xs: ReadonlyArray<number>) => constants.i32([xs.length], xs)
  const scalar = (x: number) => constants.f32([], [x])
  const reduce =
    (name: string) =>
    (x: Value, axes: ReadonlyArray<number>, keep = false) =>
      one(name, [x, ints(...axes)], [attr.flag('keep_dims', keep)])
  const reshape = (x: Value, ...shape: ReadonlyArray<number>) => one('Reshape', [x, ints(...shape)])
  const cast = (x: Value, to: number) =>
    x.dtype === to ? x : one('Cast', [x], [attr.type('DstT', to)])

  return {
    attr,
    many,
    one,
    ints,
    scalar,
    reshape,
    cast,
    add: binary('AddV2'),
    sub: binary('Sub'),
    mul: binary('Mul'),
    div: binary('RealDiv'),
    neg: unary('Neg'),
    exp: unary('Exp'),
    log: unary('Log'),
    sqrt: unary('Sqrt'),
    square: unary('Square'),
    sigmoid: unary('Sigmoid'),
    /** The same tensor under an id of its own. */
    same: unary('Identity'),
    sum: reduce('Sum'),
    mean: reduce('Mean'),
    max: reduce('Max'),
    all: reduce('All'),
    axes: (x: Value) => x.shape.map((_, i) => i),
    constant: constants.f32,
    /** Integers as a constant. */
    words: constants.i32,
    where: (c: Value, x: Value, y: Value) => one('SelectV2', [c, x, y]),
    dot: (x: Value, y: Value, { ta = false, tb = false }: Dot = {}) =>
      one('MatMul', [x, y], [attr.flag('transpose_a', ta), attr.flag('transpose_b', tb)]),
    /** Products of the last two axes. */
    matmul: (x: Value, y: Value, { ta = false, tb = false }: Dot = {}) =>
      one('BatchMatMulV2', [x, y], [attr.flag('adj_x', ta), attr.flag('adj_y', tb)]),
    transpose: (x: Value, ...order: ReadonlyArray<number>) => one('Transpose', [x, ints(...order)]),
    gather: (x: Value, at: Value) => one('GatherV2', [x, at, constants.i32([], [0])]),
    slice: (x: Value, axis: number, from: number, to: number) => {
      const begin = x.shape.map((_, i) => (i === axis ? from : 0))
      const count = x.shape.map((n, i) => (i === axis ? to - from : n))
      return one('Slice', [x, ints(...begin), ints(...count)])
    },
    concat: (axis: number, ...xs: ReadonlyArray<Value>) =>
      xs.length === 1
        ? xs[0]!
        : one(
            'ConcatV2',
            [...xs, constants.i32([], [axis])],
            [attr.int('N', xs.length), attr.type('T', xs[0]!.dtype)],
          ),
    fill: (shape: ReadonlyArray<number>, x: Value) => one('Fill', [ints(...shape), x]),
    /** The same bytes as another dtype. */
    bits: (x: Value, to: number) => one('Bitcast', [x], [attr.type('type', to)]),
    range: (n: number) =>
      one('Range', [constants.i32([], [0]), constants.i32([], [n]), constants.i32([], [1])]),
    upload: (shape: ReadonlyArray<number>, dtype: number, data: unknown): Value => {
      const value = { id: b.createTensor(shape, dtype, data), dtype, shape }
      made.push(value)
      return value
    },
    size: (x: Value) => size(x.shape),
    /** Whether the id is of an op's making since the last release: else it is an operand's or a constant's. */
    fresh: (v: Value): boolean => made.some((m) => m.id === v.id),
    /** Deletes whatever was made since the last time, but for what is kept. */
    release: (keep: ReadonlyArray<Value>): void => {
      const old = made
      made = []
      remove(old, keep)
    },
    /** What `body` makes and does not return is deleted when it ends. */
    scoped: (body: () => ReadonlyArray<Value>): ReadonlyArray<Value> => {
      const outer = made
      made = []
      try {
        const results = body()
        remove(made, results)
        made = results.slice()
        return results
      } finally {
        made = [...outer, ...made]
      }
    },
  }
}
export type Nodes = ReturnType<typeof nodesOf>
