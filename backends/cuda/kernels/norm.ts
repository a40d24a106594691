/** Cards of RMSNorm. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  f32,
  kernel,
  launch,
  matrix,
  maybeMatrix,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
  type Shape,
} from './card.ts'

interface Norm extends Shape {
  readonly x: Rows
  readonly eps: number
  readonly dtype: Float
}
/** Whole warps, 8 elements a thread. */
const threads = (width: number): number => Math.min(1024, 32 * divide(width, 256))

/** Whole rows of 16-bit values, one piece of 8 a thread. */
const whole = (o: Norm, w: Place, ...operands: ReadonlyArray<Rows>): boolean =>
  o.dtype !== 'f32' &&
  o.width % 8 === 0 &&
  o.width <= 8192 &&
  w % 16 === 0 &&
  operands.every((r) => r.offset % 16 === 0 && r.ld % 8 === 0)

const wholeKernel = (name: string, o: Norm) =>
  kernel('norm_rows.cu', name, { ...macros(o.dtype), THREADS: threads(o.width) })

/** out = rmsNorm(x) · w. With `residual`: x + residual, rounded, is written to `sum` first and normalised. */
export const rmsNorm = (
  o: Norm & {
    readonly w: Place
    readonly out: Rows
    readonly residual?: Rows
    readonly sum?: Rows
  },
): KernelLaunch =>
  o.residual === undefined && whole(o, o.w, o.x, o.out)
    ? launch(
        wholeKernel('rms_norm_whole', o),
        [o.rows],
        threads(o.width),
        [...matrix(o.x), at(o.w), ...matrix(o.out), u32(o.width), f32(o.eps)],
        2 * o.rows * o.width * elementBytes[o.dtype],
        4 * o.rows * o.width,
      )
    : generic(o)

const generic = (o: Parameters<typeof rmsNorm>[0]): KernelLaunch =>
  launch(
    kernel('norm.cu', 'rms_norm', macros(o.dtype)),
    [o.rows],
    threads(o.width),
    [
      ...matrix(o.x),
      ...maybeMatrix(o.residual),
      ...maybeMatrix(o.sum),
      at(o.w),
      ...matrix(o.out),
      u32(o.width),
      f32(o.eps),
    ],
    (o.residual === undefined ? 2 : 4) * o.rows * o.width * elementBytes[o.dtype],
    4 * o.rows * o.width,
  )

/** The gradient by x; `residual` is added to it before the one rounding. out may lie over ct or residual. */
export const rmsNormGrad = (
  o: Norm & {
    readonly w: Place
    readonly ct: Rows
    readonly out: Rows
    readonly residual?: Rows
  },
): KernelLaunch =>
  launch(
    whole(o, o.w, o.x, o.ct, o.out, ...(o.residual === undefined ? [] : [o.residual]))
      ? wholeKernel('rms_norm_grad_whole', o)
      : kernel('norm.cu', 'rms_norm_grad', macros(o.dtype)),
    [o.rows],
    threads(o.width),
    [
      ...matrix(o.x),
      at(o.w),
      ...matrix(o.ct),
      ...maybeMatrix(o.residual),
      ...matrix(o.out),
      u32(o.width),
      f32(o.eps),
    ],
    (o.residual === undefined ? 3 : 4) * o.rows * o.width * elementBytes[o.dtype],
    8 * o.rows * o.width,
  )

/** One f32 a row. */
export const rmsNormWeightGradWorkspaceBytes = (rows: number): number => 4 * rows

/** The gradient by w, a vector of `to` (default: the operand's type). */
export const rmsNormWeightGrad = (
  o: Norm & {
    readonly ct: Rows
    readonly out: Place
    readonly workspace: Place
    readonly to?: Float
  },
): ReadonlyArray<KernelLaunch> => [
  launch(
    kernel('norm.cu', 'rms_scales', macros(o.dtype)),
    [o.rows],
    threads(o.width),
    [...matrix(o.x), at(o.workspace), u32(o.width), f32(o.eps)],
    o.rows * o.width * elementBytes[o.dtype],
    2 * o.rows * o.width,
  ),
  launch(
    kernel('reduce.cu', 'scaled_product_rows', macros(o.dtype, o.to ?? o.dtype)),
    [divide(o.width, 32)],
    256,
    [...matrix(o.x), ...matrix(o.ct), at(o.workspace), at(o.out), u32(o.rows), u32(o.width)],
    2 * o.rows * o.width * elementBytes[o.dtype],
    2 * o.rows * o.width,
  ),
]
