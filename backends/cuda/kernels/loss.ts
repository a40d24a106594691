/** Cards of the loss over rows of logits that a product has written. The rows are one chunk: offsets of targets, nll, lse and ct are the chunk's. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  kernel,
  launch,
  matrix,
  maybe,
  maybeMatrix,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

interface Logits {
  readonly logits: Rows
  readonly dtype: Float
  readonly rows: number
  /** Words. */
  readonly width: number
}
/** f32 cotangent of nll: one a row, or one for all rows. */
interface Weight {
  readonly offset: Place
  readonly each: boolean
}

/** Pieces of 8,192 logits that stay in registers: up to 32,768 words are read once, beyond that (and in f32) twice. */
const pieces = (o: Logits): number => {
  const n = divide(o.width, 8192)
  return n <= 4 ? n : 0
}

/** nll and lse (f32, 0 where the target is −100); with `grad` also (softmax − onehot)·ct, over the logits where the types agree. */
export const crossEntropy = (
  o: Logits & {
    /** i32 [rows]. */
    readonly targets: Place
    readonly nll: Place
    readonly lse: Place
    readonly grad?: { readonly ct: Weight; readonly out: Rows; readonly dtype: Float }
  },
): KernelLaunch =>
  launch(
    kernel('loss.cu', 'cross_entropy', {
      ...macros(o.dtype, o.grad?.dtype ?? o.dtype),
      CE_N: pieces(o),
    }),
    [o.rows],
    1024,
    [
      ...matrix(o.logits),
      at(o.targets),
      at(o.nll),
      at(o.lse),
      maybe(o.grad?.ct.offset),
      u32(o.grad?.ct.each === true ? 1 : 0),
      ...maybeMatrix(o.grad?.out),
      u32(o.width),
    ],
    o.rows *
      o.width *
      (elementBytes[o.dtype] + (o.grad === undefined ? 0 : elementBytes[o.grad.dtype])),
    5 * o.rows * o.width,
  )

/** The gradient of the logits from a known lse. */
export const crossEntropyGrad = (
  o: Logits & {
    readonly targets: Place
    readonly lse: Place
    readonly grad: { readonly ct: Weight; readonly out: Rows; readonly dtype: Float }
  },
): KernelLaunch =>
  launch(
    kernel('loss.cu', 'cross_entropy_grad', { ...macros(o.dtype, o.grad.dtype), CE_N: 0 }),
    [o.rows],
    512,
    [
      ...matrix(o.logits),
      at(o.targets),
      at(o.lse),
      at(o.grad.ct.offset),
      u32(o.grad.ct.each ? 1 : 0),
      ...matrix(o.grad.out),
      u32(o.width),
    ],
    o.rows * o.width * (elementBytes[o.dtype] + elementBytes[o.grad.dtype]),
    4 * o.rows * o.width,
  )

/** i32 [rows]: the index of the largest logit, the lower on a tie. */
export const argmax = (o: Logits & { readonly out: Place }): KernelLaunch =>
  launch(
    kernel('loss.cu', 'argmax_rows', { ...macros(o.dtype, o.dtype), CE_N: 0 }),
    [o.rows],
    512,
    [...matrix(o.logits), at(o.out), u32(o.width)],
    o.rows * o.width * elementBytes[o.dtype],
    o.rows * o.width,
  )
