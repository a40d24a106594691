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

/** Rows and columns of the products measured: as large as those of a 7B model, and no card is too small for them. */
const SIDE = 4096
/** Bytes of one operand in 32 bits. */
const MATRIX = 4 * SIDE * SIDE
const ARENA = 3 * MATRIX
/** Under load clocks fall: products run at least as long as a step does. */
const WARM_MS = 200
const TIMES = 10
/** What kernels and graphs take beside the context once a program is loaded. */
const MODULES = 32 * 2 ** 20
/** More than any context takes: another process has memory there. */
const MOST_CONTEXT = 2 * 2 ** 30

/** A product of two matrices that fill the arena's thirds. */
const square = (dtype: Float): Launch => {
  const rows = (i: number) => ({ offset: i * MATRIX, ld: SIDE })
  return {
    ...product({
      a: { rows: rows(0), dtype },
      b: { rows: rows(1), dtype, t: true },
      d: { rows: rows(2), dtype },
      m: SIDE,
      n: SIDE,
      k: SIDE,
    }),
    rule: 'calibration',
    group: 'product',
    covers: [],
  }
}

/** Numbers of both signs near one in any of the types: products of zeros draw less power, and run faster. */
const noise = (dtype: Float): Uint8Array => {
  const out = new Uint8Array(SIDE * SIDE * elementBytes[dtype])
  let x = 1
  for (let i = 0; i < out.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    // The last byte holds sign and exponent: 0x3c and 0xbc are about one in every type.
    out[i] =
      i % elementBytes[dtype] === elementBytes[dtype] - 1 ? (x >>> 31 ? 0xbc : 0x3c) : x >>> 24
  }
  return out
}

/** Seconds of one of `n` pieces of work, hot. */
const hot = (gpu: Gpu, body: () => Cuda<unknown>): Cuda<number> => {
  const many = (n: number) => gpu.time(() => inOrder(Array.from({ length: n }, () => body)))
  return pipe(
    many(TIMES),
    E.chain((ms) => many(Math.max(1, Math.ceil((TIMES * WARM_MS) / Math.max(ms, 0.01))))),
    E.chain(() => many(TIMES)),
    E.map((ms) => ms / 1e3 / TIMES),
  )
}

const productRate = (d: Device, dtype: Float): Cuda<number> => {
  const launch = square(dtype)
  const bytes = noise(dtype)
  return pipe(
    tune(d, [launch]),
    E.chain(() => d.gpu.copyIn(d.base, bytes)),
    E.chain(() => d.gpu.copyIn(d.base + BigInt(MATRIX), bytes)),
    E.chain(() => bindAll(d, [launch])),
    E.chain(([put]) => hot(d.gpu, put!)),
    E.map((seconds) => launch.flops / seconds),
  )
}

const copyRate = ({ gpu, base }: Device): Cuda<number> => {
  const half = ARENA / 2
  return pipe(
    hot(gpu, () => gpu.copyWithin(base, base + BigInt(half), half)),
    E.map((seconds) => (2 * half) / seconds),
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
export const calibrate = (gpu: Gpu, assumed: Calibration): Cuda<Calibration> =>
  pipe(
    E.Do,
    E.bind('workspace', () => gpu.allocate(WORKSPACE)),
    E.bind('base', () => gpu.allocate(ARENA)),
    E.bind('products', ({ workspace }) => gpu.products({ address: workspace, bytes: WORKSPACE })),
    E.chain(({ workspace, base, products }) => {
      const d: Device = { gpu, products, base }
      const measured = pipe(
        E.Do,
        E.bind('copy', () => copyRate(d)),
        E.bind('f32', () => productRate(d, 'f32')),
        E.bind('f16', () => productRate(d, 'f16')),
        // Turing multiplies no bfloat16, and no plan for it does.
        E.bind('bf16', ({ f16 }) =>
          capabilityOf(gpu.arch) < 80 ? E.right(f16) : productRate(d, 'bf16'),
        ),
        E.bind('contextBytes', () => contextOf(gpu, WORKSPACE + ARENA, assumed.contextBytes)),
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
