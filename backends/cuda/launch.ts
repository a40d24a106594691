/** What runs on the device: a list of launches, each with its operands by arena offset, the equations it covers and what it must move and compute. */
import type { Float8 } from '../../ir/number.ts'
import type { Float } from '../../ir/type.ts'

/** A kernel function: a file of `kernels/`, a function in it, and the macros it is compiled with. */
export interface Kernel {
  readonly source: string
  readonly name: string
  readonly defines: Readonly<Record<string, string | number>>
  /** Lowest architecture that compiles it: 75, 80, or `90a` for Hopper's own instructions. */
  readonly needs: 75 | 80 | '90a'
}

/** One argument of a kernel. Addresses are byte offsets into the session's arena. */
export type Arg =
  | { readonly _tag: 'at'; readonly offset: number }
  | { readonly _tag: 'null' }
  | { readonly _tag: 'i32' | 'u32' | 'f32'; readonly value: number }
  /** A tensor map (TMA) of 16-bit elements with the 128-byte swizzle, box 64 columns wide, passed by value. */
  | {
      readonly _tag: 'map'
      readonly offset: number
      readonly rows: number
      readonly columns: number
      /** Elements between rows. */
      readonly ld: number
      readonly boxRows: number
    }

export const at = (offset: number): Arg => ({ _tag: 'at', offset })
export const nowhere: Arg = { _tag: 'null' }
export const i32 = (value: number): Arg => ({ _tag: 'i32', value })
export const u32 = (value: number): Arg => ({ _tag: 'u32', value })
export const f32 = (value: number): Arg => ({ _tag: 'f32', value })

/** What a launch costs at least. */
export interface Cost {
  /** Bytes of device memory, each operand read or written once. */
  readonly bytes: number
  readonly flops: number
}

export interface KernelLaunch extends Cost {
  readonly _tag: 'kernel'
  readonly kernel: Kernel
  readonly grid: readonly [number, number, number]
  /** Threads of a block. */
  readonly block: number
  /** Dynamic shared memory in bytes. */
  readonly shared: number
  readonly args: ReadonlyArray<Arg>
  /** May begin before the launch ahead of it, also a kernel, has ended: it waits by itself (`WAIT` in common.cuh). */
  readonly early?: true
}

/** A matrix of an arena: row-major, `ld` elements between rows. */
export interface Matrix {
  readonly offset: number
  readonly dtype: Float | Float8
  readonly rows: number
  readonly columns: number
  readonly ld: number
  /** Of 8-bit floats: where the f32 factors of its rows lie; absent: none. */
  readonly scales?: number
}

/** D = alpha · op(A) · op(B) + beta · C on the library's tensor-core products, sums in f32. All row-major. 8-bit floats: A as it is, B transposed. */
export interface ProductLaunch extends Cost {
  readonly _tag: 'product'
  readonly a: Matrix
  readonly b: Matrix
  readonly c: Matrix | null
  readonly d: Matrix
  readonly ta: boolean
  readonly tb: boolean
  readonly alpha: number
  readonly beta: number
}

/** Bytes set to zero, or copied within the arena. */
export interface ClearLaunch extends Cost {
  readonly _tag: 'clear'
  readonly offset: number
  readonly length: number
}
export interface CopyLaunch extends Cost {
  readonly _tag: 'copy'
  readonly from: number
  readonly to: number
  readonly length: number
}

export type Work = KernelLaunch | ProductLaunch | ClearLaunch | CopyLaunch

/** One line of the list: the work, the rule that made it, and the equations (by index) of its function that it covers. */
export type Launch = Work & {
  readonly rule: string
  /** Group of the profile: `product`, `decode`, `attention`, `norm`, `swiglu`, `rope`, `lora`, `loss`, `optimizer`, `other`. */
  readonly group: string
  readonly covers: ReadonlyArray<number>
}
