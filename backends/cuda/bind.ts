/** Launches bound to a device: every address, kernel and algorithm found, so that running them is only calls to the driver. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Gpu } from './driver/gpu.ts'
import { each, inOrder, type Cuda } from './driver/error.ts'
import { isFp8, productAt } from './driver/product.ts'
import type { Products } from './driver/products.ts'
import type { Float8 } from '../../ir/number.ts'
import type { Float } from '../../ir/type.ts'
import { dot } from './kernels/dot.ts'
import { dot8 } from './kernels/float8.ts'
import type { KernelLaunch, Launch, Matrix, ProductLaunch, Work } from './launch.ts'
import { sourceOf } from './sources.ts'

/** Puts one launch on the stream. */
export type Put = () => Cuda<void>

export interface Device {
  readonly gpu: Gpu
  readonly products: Products
  /** Address of the arena. */
  readonly base: bigint
}

const bindKernel = ({ gpu, base }: Device, l: KernelLaunch): Cuda<Put> =>
  pipe(
    gpu.module(sourceOf(l.kernel.source), l.kernel.defines, l.kernel.needs),
    E.chain((m) => m.fn(l.kernel.name)),
    E.bindTo('f'),
    E.bind('params', () => gpu.pack(base, l.args)),
    // Within a capture the limit cannot be raised.
    E.chainFirst(({ f }) => gpu.allowShared(f, l.shared)),
    E.map(
      ({ f, params }): Put =>
        () =>
          gpu.launch(f, l.grid, [l.block, 1, 1], l.shared, params, l.early === true),
    ),
  )

const rowsOf = (m: Matrix) => ({ offset: m.offset, ld: m.ld })
const rows8 = (m: Matrix) => ({ ...rowsOf(m), scales: m.scales ?? null })

/** The same product by a kernel of our own, for shapes and strides that the library does not take. */
export const ownProduct = (p: ProductLaunch): KernelLaunch =>
  isFp8(p.a.dtype) ? eightBits(p) : plainProduct(p)

const eightBits = (p: ProductLaunch): KernelLaunch =>
  dot8({
    a: rows8(p.a),
    b: rows8(p.b),
    c: p.c === null ? null : rowsOf(p.c),
    d: rowsOf(p.d),
    m: p.d.rows,
    n: p.d.columns,
    k: p.a.columns,
    alpha: p.alpha,
    beta: p.beta,
    format: p.a.dtype as Float8,
    to: p.d.dtype as Float,
  })

const plainProduct = (p: ProductLaunch): KernelLaunch =>
  dot({
    a: rowsOf(p.a),
    b: rowsOf(p.b),
    ...(p.c === null ? {} : { c: rowsOf(p.c) }),
    d: rowsOf(p.d),
    ta: p.ta,
    tb: p.tb,
    m: p.d.rows,
    n: p.d.columns,
    k: p.ta ? p.a.rows : p.a.columns,
    alpha: p.alpha,
    beta: p.beta,
    dtype: p.a.dtype as Float,
    to: p.d.dtype as Float,
  })

const bindProduct = (d: Device, l: ProductLaunch): Cuda<Put> => {
  const p = productAt(l, d.base)
  return pipe(
    d.products.plan(p),
    E.chain((plan) =>
      plan === null ? bindKernel(d, ownProduct(l)) : E.right(() => d.products.multiply(plan, p)),
    ),
  )
}

export const bindWork = (d: Device, w: Work): Cuda<Put> => {
  const at = (offset: number): bigint => d.base + BigInt(offset)
  switch (w._tag) {
    case 'kernel':
      return bindKernel(d, w)
    case 'product':
      return bindProduct(d, w)
    case 'clear':
      return E.right(() => d.gpu.clear(at(w.offset), w.length))
    case 'copy':
      return E.right(() => d.gpu.copyWithin(at(w.to), at(w.from), w.length))
  }
}

/** Chooses algorithms by measuring them; the arena's contents are lost. */
export const tune = (d: Device, launches: ReadonlyArray<Launch>): Cuda<void> =>
  inOrder(
    launches.flatMap((l) =>
      l._tag === 'product' ? [() => d.products.tune(productAt(l, d.base))] : [],
    ),
  )

export const bindAll = (d: Device, launches: ReadonlyArray<Launch>): Cuda<ReadonlyArray<Put>> =>
  each(launches, (l) => bindWork(d, l))
