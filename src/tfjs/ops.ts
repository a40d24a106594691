/** tunec's ops on a caller's tf.Tensors, with gradients through tf.customGrad. */
import * as E from 'fp-ts/lib/Either.js'
import { onDevice } from '../../backends/tfjs/device-ops.ts'
import { compiledInside } from '../../backends/tfjs/inside.ts'
import { hostOf, type Host } from '../../backends/tfjs/load.ts'
import { onCpu, type Operand, type RunOp } from '../../backends/tfjs/one.ts'
import type { Tensor, Tf } from '../../backends/tfjs/tf.ts'
import type { OpName } from '../../ir/ops/index.ts'
import { quantized, restored, type Nf4, type Nf4Options } from './nf4.ts'

export interface RotaryOptions {
  /** Width of one head. */
  readonly headDim: number
  /** Base of the wavelengths. */
  readonly theta?: number
}

export interface AttentionOptions {
  readonly heads: number
  /** Heads of keys and values, each shared by `heads / kvHeads` of the queries; `heads` where absent. */
  readonly kvHeads?: number
  /** int32 [rows, T]: a token sees those of its own segment only. One segment a row where absent. */
  readonly segments?: Tensor
}

export interface Ops {
  /** Rounds a float32 matrix [out, in] to NF4: 4.13 bits a value. */
  readonly quantize: (x: Tensor, o?: Nf4Options) => Nf4
  /** A weight of the bytes that `Nf4.bytes` gave. */
  readonly restore: (shape: ReadonlyArray<number>, bytes: Uint8Array, o?: Nf4Options) => Nf4
  /** The weight as float32 [out, in]. No gradient flows into it: it is frozen. */
  readonly dequantize: (w: Nf4) => Tensor
  /** x·Wᵀ of x [..., in] and W [out, in]. The gradient by x decodes W again instead of keeping it. */
  readonly matMul: <T extends Tensor>(x: T, w: Nf4) => T
  /** x / √(mean(x²) + ε) · w over the last axis. */
  readonly rmsNorm: <T extends Tensor>(x: T, w: Tensor, eps?: number) => T
  /** Turns the heads of x [rows, T, heads·headDim] by their positions, int32 [rows, T], in halves as Hugging Face lays them out. */
  readonly rotary: <T extends Tensor>(x: T, positions: Tensor, o: RotaryOptions) => T
  /** Causal softmax(q·kᵀ/√d)·v of q [rows, T, heads·d] and k, v [rows, T, kvHeads·d]; scores are computed again for the gradient, not kept. */
  readonly attention: <T extends Tensor>(q: T, k: Tensor, v: Tensor, o: AttentionOptions) => T
  /** Gives back what a GPU keeps: a compiled op for every shape that was seen. Weights stay. */
  readonly close: () => void
}

type Save = (tensors: ReadonlyArray<Tensor>) => void
interface Custom {
  readonly value: Tensor
  readonly gradFunc: (dy: Tensor, saved: ReadonlyArray<Tensor>) => Tensor | ReadonlyArray<Tensor>
}

/** As much of the module as is called. */
interface Module extends Tf {
  readonly customGrad: (
    f: (...args: ReadonlyArray<Tensor | Save>) => Custom,
  ) => (...args: ReadonlyArray<Tensor>) => Tensor
  readonly reshape: (x: Tensor, shape: ReadonlyArray<number>) => Tensor
  readonly ones: (shape: ReadonlyArray<number>, dtype: string) => Tensor
  readonly tidy: <T>(f: () => T) => T
}

/** A function of tensors with its gradient; `forward` gives the value and what the gradient needs beside the arguments. */
const differentiable =
  (
    tf: Module,
    forward: (args: ReadonlyArray<Tensor>) => readonly [value: Tensor, kept: ReadonlyArray<Tensor>],
    backward: (
      dy: Tensor,
      args: ReadonlyArray<Tensor>,
      kept: ReadonlyArray<Tensor>,
    ) => ReadonlyArray<Tensor>,
  ) =>
  (...args: ReadonlyArray<Tensor>): Tensor =>
    tf.customGrad((...given) => {
      const inputs = given.slice(0, -1) as ReadonlyArray<Tensor>
      const [value, kept] = forward(inputs)
      const save = given.at(-1) as Save
      save([...inputs, ...kept])
      return {
        value,
        gradFunc: (dy, saved) => {
          const all = backward(dy, saved.slice(0, args.length), saved.slice(args.length))
          return all.length === 1 ? all[0]! : all
        },
      }
    })(...args)

/** Frequencies as they are, without Llama 3's stretching. */
const UNSCALED = { factor: 1, lowFreqFactor: 0, highFreqFactor: 0, originalContext: 0 }

/** The functions over whatever runs single ops. */
export const opsOver = (own: object, host: Host, runOp: RunOp, close: () => void): Ops => {
  const tf = own as Module
  const run = (op: OpName, attrs: object, ...operands: ReadonlyArray<Operand>) =>
    runOp(op, attrs, operands)
  const rows = (x: Tensor): Tensor => tf.reshape(x, [-1, x.shape.at(-1)!])
  /** Kernels take one row a token; what comes back has the caller's axes. */
  const shaped = <T extends Tensor>(x: T, f: (flat: Tensor) => Tensor): T =>
    tf.tidy(() => {
      const y = f(rows(x))
      return tf.reshape(y, [...x.shape.slice(0, -1), y.shape.at(-1)!]) as T
    })
  const grid = (what: string, x: Tensor): readonly [number, number] => {
    if (x.shape.length !== 3)
      throw new TypeError(`${what} takes tensors [rows, T, width], got [${x.shape.join(', ')}]`)
    return [x.shape[0]!, x.shape[1]!]
  }

  const matMul: Ops['matMul'] = (x, w) => {
    const product = differentiable(
      tf,
      ([a]) =>
        tf.tidy(() => {
          const [wide] = run('dequantize', { to: 'f32' }, w.cell)
          return [run('dot', { ta: false, tb: true }, a!, wide!)[0]!, []] as const
        }),
      (dy) =>
        tf.tidy(() => {
          const [wide] = run('dequantize', { to: 'f32' }, w.cell)
          return run('dot', { ta: false, tb: false }, dy, wide!)
        }),
    )
    return shaped(x, product)
  }

  return {
    close,
    quantize: (x, o) => quantized(host, x, o),
    restore: (shape, bytes, o) => restored(host, shape, bytes, o),
    dequantize: (w) => run('dequantize', { to: 'f32' }, w.cell)[0]!,
    matMul,
    rmsNorm: (x, w, eps = 1e-6) => {
      const norm = differentiable(
        tf,
        ([a, b]) => [run('rmsNorm', { eps }, a!, b!)[0]!, []],
        (dy, [a, b]) => [
          run('rmsNormGrad', { eps }, a!, b!, dy)[0]!,
          run('rmsNormWeightGrad', { eps }, a!, b!, dy)[0]!,
        ],
      )
      return shaped(x, (flat) => norm(flat, w))
    },
    rotary: (x, positions, { headDim, theta = 10_000 }) => {
      grid('rotary', x)
      const turned = differentiable(
        tf,
        ([a]) => {
          const tables = run('ropeTable', { dim: headDim, theta, ...UNSCALED }, positions)
          return [run('rope', { inverse: false }, a!, ...tables)[0]!, tables]
        },
        (dy, _, tables) => run('rope', { inverse: true }, dy, ...tables),
      )
      return shaped(x, turned)
    },
    attention: (q, k, v, { heads, kvHeads = heads, segments }) => {
      const shape = grid('attention', q)
      const attrs = { heads, kvHeads }
      return tf.tidy(() => {
        const seen = segments ?? tf.ones(shape, 'int32')
        const attend = differentiable(
          tf,
          ([a, b, c]) => {
            const [out, lse] = run('attention', attrs, a!, b!, c!, seen)
            return [out!, [out!, lse!, seen]]
          },
          (dy, [a, b, c], [out, lse, s]) =>
            run('attentionGrad', attrs, a!, b!, c!, s!, out!, lse!, dy),
        )
        return shaped(q, (flat) => attend(flat, rows(k), rows(v)))
      })
    },
  }
}

/** The functions on a program's own `tf`. Throws where it has no TensorFlow behind it. */
export const opsOn = (tf: object): Ops => {
  const host = hostOf(tf as Tf)
  if (E.isLeft(host)) throw new Error(`${host.left.message}; ${host.left.hint ?? ''}`)
  const { plugin, backend } = host.right
  if (plugin !== null) {
    const device = onDevice(host.right, (p) => compiledInside(host.right, plugin, p))
    return opsOver(tf, host.right, device.run, device.close)
  }
  if (backend.isUsingGpuDevice)
    throw new Error(
      "this TensorFlow's GPU is not tunec's plugin, and has no kernels of ours; load tfjs through `load` of 'tunec/tfjs'",
    )
  return opsOver(tf, host.right, onCpu(host.right), () => {})
}
