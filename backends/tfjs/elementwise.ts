/** Element-wise arithmetic, and dropout's hash in integer ops. */
import { DT } from './tf.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf, Site } from './site.ts'

export const binary =
  (op: 'add' | 'sub' | 'mul') =>
  ({ n, args }: Site<object>): ReadonlyArray<Value> => [n[op](args[0]!, args[1]!)]
export const unary =
  (op: string) =>
  ({ n, args }: Site<object>): ReadonlyArray<Value> => [n.one(op, [args[0]!])]

export const silu = (n: Nodes, x: Value): Value => n.mul(x, n.sigmoid(x))

export const swiglu: KernelOf<'swiglu'> = ({ n, args: [gate, up] }) => [n.mul(silu(n, gate!), up!)]

/** d/dgate = ct·up·σ·(1 + gate·(1 − σ)), d/dup = ct·gate·σ. */
export const swigluGrad: KernelOf<'swigluGrad'> = ({ n, args: [gate, up, ct] }) => {
  const sigma = n.sigmoid(gate!)
  const inner = n.add(n.scalar(1), n.mul(gate!, n.sub(n.scalar(1), sigma)))
  return [n.mul(n.mul(ct!, up!), n.mul(sigma, inner)), n.mul(ct!, n.mul(gate!, sigma))]
}

export const logOdds: KernelOf<'logOdds'> = ({ n, args: [x] }) => {
  const less = n.neg(x!)
  return [n.sub(less, n.log(n.neg(n.one('Expm1', [less]))))]
}

export const positive: KernelOf<'positive'> = ({ n, args: [x] }) => [
  n.cast(n.one('Greater', [x!, n.scalar(0)]), DT.f32),
]

/** `hash32`: products and sums wrap as 32-bit integers do, shifts are of unsigned ones. */
const wordOf =
  (n: Nodes) =>
  (value: number): Value =>
    n.words([], [value | 0])

const hashes = (
  n: Nodes,
  salt: number,
  [rows, columns]: readonly [number, number],
  seed: Value,
  keys: Value,
): Value => {
  const word = wordOf(n)
  const xor = (a: Value, b: Value) => n.one('BitwiseXor', [a, b])
  const shifted = (h: Value, by: number) => {
    const right = n.one('RightShift', [n.bits(h, DT.u32), n.bits(word(by), DT.u32)])
    return xor(h, n.bits(right, DT.i32))
  }
  const start = n.add(seed, word(Math.imul(salt, 0x85ebca6b)))
  const column = n.add(n.mul(n.range(columns), word(0x9e3779b1)), start)
  const h1 = shifted(xor(column, n.reshape(keys, rows, 1)), 16)
  const h2 = shifted(n.mul(h1, word(0x7feb352d)), 15)
  return shifted(n.mul(h2, word(0x846ca68b)), 16)
}

export const dropout: KernelOf<'dropout'> = ({ n, attrs: { rate, salt }, args, types }) => {
  const [x, seed, keys] = args as [Value, Value, Value]
  const h3 = hashes(n, salt, types[0]!.shape as [number, number], seed, keys)
  const threshold = wordOf(n)(Math.floor(rate * 2 ** 32))
  const dropped = n.one('Less', [n.bits(h3, DT.u32), n.bits(threshold, DT.u32)])
  return [n.mul(x, n.where(dropped, n.scalar(0), n.scalar(1 / (1 - rate))))]
}

export const noise: KernelOf<'noise'> = ({ n, attrs: { salt }, args, types }) => {
  const [x, seed, keys, reach] = args as [Value, Value, Value, Value]
  const shape = types[0]!.shape as [number, number]
  const hash = n.bits(hashes(n, salt, shape, seed, keys), DT.u32)
  const high = n.one('RightShift', [hash, n.bits(wordOf(n)(8), DT.u32)])
  const part = n.mul(n.cast(n.bits(high, DT.i32), DT.f32), n.scalar(2 ** -23))
  return [n.add(x, n.mul(n.sub(part, n.scalar(1)), n.reshape(reach, shape[0], 1)))]
}
