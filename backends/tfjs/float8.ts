/** Products of 8-bit floats: operands rounded by arithmetic on powers of two, each line with one as its scale. */
import type { Float8 } from '../../ir/number.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf } from './site.ts'
import { DT } from './tf.ts'

/** 1.75 · 2^top is the largest number; below 2^least the steps stay the same. */
const formats = {
  e4m3: { mantissa: 3, least: -6, top: 8 },
  e5m2: { mantissa: 2, least: -14, top: 15 },
} as const satisfies Record<Float8, object>

const EXPONENT = 0x7f800000
const MANTISSA = 0x7fffff
/** The mantissa of 1.75. */
const THREE_QUARTERS = 0x600000

const word = (n: Nodes, x: number): Value => n.words([], [x])
const masked = (n: Nodes, x: Value, mask: number): Value =>
  n.one('BitwiseAnd', [n.bits(x, DT.i32), word(n, mask)])
/** The power of two at or below a positive number. */
const powerOf = (n: Nodes, x: Value): Value => n.bits(masked(n, x, EXPONENT), DT.f32)
const atLeast = (n: Nodes, x: Value, least: number): Value => n.one('Maximum', [x, n.scalar(least)])

const scaleOf = (n: Nodes, f: Float8, most: Value): Value => {
  const { top } = formats[f]
  const above = n.one('Greater', [masked(n, most, MANTISSA), word(n, THREE_QUARTERS)])
  const factor = n.where(above, n.scalar(2 ** (1 - top)), n.scalar(2 ** -top))
  const scale = atLeast(n, n.mul(powerOf(n, most), factor), 2 ** -126)
  // x − x is 0 for a finite number and NaN otherwise.
  const finite = n.add(scale, n.sub(most, most))
  return n.where(n.one('Equal', [most, n.scalar(0)]), n.scalar(1), finite)
}

/** Rounded with a scale a line along the axis. */
const rounded = (n: Nodes, f: Float8, x: Value, axis: number): Value => {
  const { mantissa, least } = formats[f]
  const scale = scaleOf(n, f, n.max(n.one('Abs', [x]), [axis], true))
  const v = n.div(x, scale)
  const step = n.mul(atLeast(n, powerOf(n, v), 2 ** least), n.scalar(2 ** -mantissa))
  return n.mul(n.mul(n.one('Rint', [n.div(v, step)]), step), scale)
}

export const float8Dot: KernelOf<'float8Dot'> = ({ n, attrs: { left, tb }, args: [x, w] }) => [
  n.dot(rounded(n, left, x!, 1), rounded(n, 'e4m3', w!, tb ? 1 : 0), { tb }),
]
