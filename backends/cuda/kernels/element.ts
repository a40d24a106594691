/** The storage types of kernels. */
import type { Float8 } from '../../../ir/number.ts'
import type { Float } from '../../../ir/type.ts'

export const elementBytes: { readonly [K in Float]: number } = { f32: 4, f16: 2, bf16: 2 }
/** Bytes of an element of a product's operand. */
export const operandBytes: { readonly [K in Float | Float8]: number } = {
  ...elementBytes,
  e4m3: 1,
  e5m2: 1,
}
const letters: { readonly [K in Float]: string } = { f32: 'F32', f16: 'F16', bf16: 'BF16' }

/** The macros that pick a source's `elem` and `other`. */
export const macros = (
  elem: Float | null,
  other: Float | null = null,
): Readonly<Record<string, number>> => ({
  ...(elem === null ? {} : { [`E_${letters[elem]}`]: 1 }),
  ...(other === null ? {} : { [`O_${letters[other]}`]: 1 }),
})
