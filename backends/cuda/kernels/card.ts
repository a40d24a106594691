/** What every card is made of. A card is a pure function from operands (byte offsets, strides, sizes) to a launch of a kernel beside it. */
import { f32, i32, at, nowhere, u32, type Arg, type Kernel, type KernelLaunch } from '../launch.ts'
import { elementBytes, macros } from './element.ts'

/** A matrix operand: where its first element lies (bytes) and the elements between its rows. */
export interface Rows {
  readonly offset: number
  readonly ld: number
}
/** A vector or scalar operand: its byte offset. */
export type Place = number

export const kernel = (
  source: string,
  name: string,
  defines: Kernel['defines'],
  needs: Kernel['needs'] = 75,
): Kernel => ({ source, name, defines, needs })

type Grid = readonly [x: number, y?: number, z?: number]
export const launch = (
  k: Kernel,
  [x, y = 1, z = 1]: Grid,
  block: number,
  args: ReadonlyArray<Arg>,
  bytes: number,
  flops: number,
  shared = 0,
): KernelLaunch => ({
  _tag: 'kernel',
  kernel: k,
  grid: [Math.max(1, x), Math.max(1, y), Math.max(1, z)],
  block,
  shared,
  args,
  bytes,
  flops,
})

export const divide = (n: number, by: number): number => Math.ceil(n / by)
/** Address and stride of a matrix operand. */
export const matrix = (r: Rows): ReadonlyArray<Arg> => [at(r.offset), u32(r.ld)]
export const maybe = (p: Place | null | undefined): Arg =>
  p === null || p === undefined ? nowhere : at(p)
/** A matrix that may be missing: a null address. */
export const maybeMatrix = (r: Rows | null | undefined): ReadonlyArray<Arg> =>
  r === null || r === undefined ? [nowhere, u32(0)] : matrix(r)
/** A 64-bit count as two arguments, low word first. */
export const u64 = (n: number): ReadonlyArray<Arg> => [
  u32(n % 2 ** 32),
  u32(Math.floor(n / 2 ** 32)),
]
/** The bits of a double as two arguments, low word first. */
export const f64 = (x: number): ReadonlyArray<Arg> => {
  const [low, high] = new Uint32Array(Float64Array.of(x).buffer)
  return [u32(low!), u32(high!)]
}

export interface Shape {
  readonly rows: number
  readonly width: number
}
/** Matrices whose rows follow each other without gaps are one long row: fewer divisions, no ragged ends. */
export const flat = ({ rows, width }: Shape, ...operands: ReadonlyArray<Rows>): Shape =>
  operands.every((o) => o.ld === width) && rows * width < 2 ** 31
    ? { rows: 1, width: rows * width }
    : { rows, width }
/** Blocks of 256 threads of 8 elements each. */
export const octets = ({ rows, width }: Shape): number => divide(rows * divide(width, 8), 256)

export { at, elementBytes, f32, i32, macros, nowhere, u32, type Arg, type KernelLaunch }
