/** Measures a card once: its copy rate, the rate of its products in each type, and what context and libraries take of its memory. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Float } from '../../ir/type.ts'
import { bindAll, tune, type Device } from './bind.ts'
import type { Calibration } from './calibration.ts'
import { capabilityOf } from './driver/arch.ts'
import { ending, inOrder, type Cuda } from './driver/error.ts'
import type { Gpu } from './driver/gpu.ts'
import { elementBytes } from './kernels/element.ts'
import type { Launch } from './launch.ts'
import { product } from './lower/product.ts'
import { WORKSPACE } from './session.ts'

export interface Effort {
  /** Rows and columns of the products measured. */
  readonly side: number
  /** Milliseconds that work runs before it is measured: under load clocks fall. */
  readonly warmMs: number
}

/** Products as large as those of a 7B model, in 200 MB that every card has. */
const usual: Effort = { side: 4096, warmMs: 200 }

const matrixBytes = ({ side }: Effort): number => 4 * side * side
const arenaBytes = (o: Effort): number => 3 * matrixBytes(o)
const TIMES = 10
/** No piece of work here is shorter than a twentieth of a millisecond on any card. */
const MOST = 20
/** What kernels and graphs take beside the context once a program is loaded. */
const MODULES = 32 * 2 ** 20
/** More than any context takes: another process has memory there. */
const MOST_CONTEXT = 2 * 2 ** 30

/** A product of two matrices that fill the arena's thirds. */
const square = (dtype: Float, o: Effort): Launch => {
  const { side } = o
  const rows = (i: number) => ({ offset: i * matrixBytes(o), ld: side })
  return {
    ...product({
      a: { rows: rows(0), dtype },
      b: { rows: rows(1), dtype, t: true },
      d: { rows: rows(2), dtype },
      m: side,
      n: side,
      k: side,
    }),
    rule: 'calibration',
    group: 'product',
    covers: [],
  }
}

/** Last bytes, which hold sign and exponent, of numbers of both signs and several sizes in any of the types. */
const heads = [0x3c, 0x3d, 0x3e, 0xbc, 0xbd, 0xbe]

/** Numbers unlike one another: what a product draws of power depends on them, and its clock on that. */
const noise = (dtype: Float, { side }: Effort): Uint8Array => {
  const out = new Uint8Array(side * side * elementBytes[dtype])
  let x = 1
  for (let i = 0; i < out.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    out[i] =
      i % elementBytes[dtype] === elementBytes[dtype] - 1
        ? heads[(x >>> 16) % heads.length]!
        : x >>> 24
  }
  return out
}

/** Seconds of a piece of work after it has run for so long. */
const hot = (gpu: Gpu, { warmMs }: Effort, body: () => Cuda<unknown>): Cuda<number> => {
  const many = (n: number) => gpu.time(() => inOrder(Array.from({ length: n }, () => body)))
  return pipe(
    many(TIMES),
    E.chain((ms) => many(Math.min(MOST * warmMs, Math.ceil((TIMES * warmMs) / ms)))),
    E.chain(() => many(TIMES)),
    E.map((ms) => ms / 1e3 / TIMES),
  )
}

const copyRate = ({ gpu, base }: Device, o: Effort): Cuda<number> => {
  const half = arenaBytes(o) / 2
  return pipe(
    hot(gpu, o, () => gpu.copyWithin(base, base + BigInt(half), half)),
    E.map((seconds) => (2 * half) / seconds),
  )
}

/**
 * Products alternate with copies, as in a step, where other launches take about a third of the time: on end, power slows them by a tenth.
 * `copy`: the card's copy rate, which gives the copies' part of the time.
 */
const productRate = (d: Device, o: Effort, dtype: Float, copy: number): Cuda<number> => {
  const launch = square(dtype, o)
  const bytes = noise(dtype, o)
  const third = matrixBytes(o)
  const beside = () => d.gpu.copyWithin(d.base + BigInt(2 * third), d.base, third)
  return pipe(
    tune(d, [launch]),
    E.chain(() => d.gpu.copyIn(d.base, bytes)),
    E.chain(() => d.gpu.copyIn(d.base + BigInt(third), bytes)),
    E.chain(() => bindAll(d, [launch])),
    E.chain(([put]) => hot(d.gpu, o, () => inOrder([put!, beside]))),
    E.map((both) => launch.flops / Math.max(both / 2, both - (2 * third) / copy)),
  )
}

/** Device memory in use that is not ours; what is assumed where another process has some too. */
const contextOf = (gpu: Gpu, allocated: number, assumed: number): Cuda<number> =>
  pipe(
    gpu.memory(),
    E.map(({ total, free }) => {
      const used = total - free - allocated
      return used > 0 && used < MOST_CONTEXT ? used + MODULES : assumed
    }),
  )

/** `assumed` gives what is not measured here. */
export const calibrate = (gpu: Gpu, assumed: Calibration, o: Effort = usual): Cuda<Calibration> =>
  pipe(
    E.Do,
    E.bind('workspace', () => gpu.allocate(WORKSPACE)),
    E.bind('base', () => gpu.allocate(arenaBytes(o))),
    E.bind('products', ({ workspace }) => gpu.products({ address: workspace, bytes: WORKSPACE })),
    E.chain(({ workspace, base, products }) => {
      const d: Device = { gpu, products, base }
      const measured = pipe(
        E.Do,
        E.bind('copy', () => copyRate(d, o)),
        E.bind('f32', ({ copy }) => productRate(d, o, 'f32', copy)),
        E.bind('f16', ({ copy }) => productRate(d, o, 'f16', copy)),
        // Turing multiplies no bfloat16, and no plan for it does.
        E.bind('bf16', ({ copy, f16 }) =>
          capabilityOf(gpu.arch) < 80 ? E.right(f16) : productRate(d, o, 'bf16', copy),
        ),
        E.bind('contextBytes', () =>
          contextOf(gpu, WORKSPACE + arenaBytes(o), assumed.contextBytes),
        ),
        E.map(({ copy, contextBytes, ...rates }): Calibration => ({
          ...assumed,
          copy,
          products: rates,
          contextBytes,
        })),
      )
      return ending(measured, () => inOrder([() => gpu.free(base), () => gpu.free(workspace)]))
    }),
  )
