/** A product as cuBLASLt runs it: row-major D = αAB + βC is column-major Dᵀ = αBᵀAᵀ + βCᵀ, so the operands change places. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { BlasLt, Workspace } from './blaslt.ts'
import { handle } from './driver.ts'
import { type Cuda, each, ending, inOrder } from './error.ts'
import { alignOf, checked, isFp8, keyOf, type Operand, type Product, TYPE } from './product.ts'

/** One way to compute the product: cublasLtMatmulAlgo_t, 64 opaque bytes. */
export type Algorithm = Buffer
export const ALGORITHM_BYTES = 64

/** A product of given shapes, ready to run at any addresses of the same alignment. */
export interface Plan {
  readonly key: string
  readonly desc: bigint
  /** Layouts of what cuBLASLt calls A, B, C and D. */
  readonly layouts: readonly [bigint, bigint, bigint, bigint]
  /** cuBLASLt's proposals, its favourite first. */
  readonly candidates: ReadonlyArray<Algorithm>
  algorithm: Algorithm
}

const COMPUTE_32F = 68
/** CUBLASLT_MATMUL_DESC_*. */
const DESC = {
  transA: 3,
  transB: 4,
  multiprocessors: 15,
  scaleA: 17,
  scaleB: 18,
  fast: 25,
  modeA: 31,
  modeB: 32,
} as const
/** CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F. */
const OUTER_VEC = 3
/** CUBLASLT_MATMUL_PREF_*. */
const PREF = { workspace: 1, alignA: 5, alignB: 6, alignC: 7, alignD: 8 } as const
const ASKED = 24
/** cublasLtMatmulHeuristicResult_t: algorithm, workspace (u64), state (i32), waves (f32), 16 bytes reserved. */
const RESULT_BYTES = 96

const i32 = (x: number): Buffer => Buffer.from(Int32Array.of(x).buffer)
const pointer = (x: bigint): Buffer => Buffer.from(BigUint64Array.of(x).buffer)

type Setting = readonly [attribute: number, value: Buffer]

/** The addresses of an FP8 product's factors change from run to run, all else is the plan's. */
const factors = (p: Product): ReadonlyArray<Setting> => [
  ...(p.b.scale === undefined ? [] : [[DESC.scaleA, pointer(p.b.scale.address)] as const]),
  ...(p.a.scale === undefined ? [] : [[DESC.scaleB, pointer(p.a.scale.address)] as const]),
]

const settings = (p: Product): ReadonlyArray<Setting> => [
  [DESC.transA, i32(p.tb ? 1 : 0)],
  [DESC.transB, i32(p.ta ? 1 : 0)],
  ...(p.multiprocessors === undefined
    ? []
    : [[DESC.multiprocessors, i32(p.multiprocessors)] as const]),
  ...(p.b.scale?.per === 'row' ? [[DESC.modeA, i32(OUTER_VEC)] as const] : []),
  ...(p.a.scale?.per === 'row' ? [[DESC.modeB, i32(OUTER_VEC)] as const] : []),
  ...(isFp8(p.a.dtype) ? [[DESC.fast, Buffer.of(1)] as const] : []),
  ...factors(p),
]

const set = (lt: BlasLt, desc: bigint, all: ReadonlyArray<Setting>): Cuda<void> =>
  inOrder(
    all.map(
      ([attribute, value]) =>
        () =>
          lt.call('cublasLtMatmulDescSetAttribute', desc, attribute, value, value.length),
    ),
  )

const proposals = (
  lt: BlasLt,
  p: Product,
  desc: bigint,
  layouts: Plan['layouts'],
  workspace: Workspace,
): Cuda<ReadonlyArray<Algorithm>> =>
  pipe(
    handle((out) => lt.call('cublasLtMatmulPreferenceCreate', out)),
    E.chain((pref) => {
      const prefer = (attribute: number, value: Buffer) => () =>
        lt.call('cublasLtMatmulPreferenceSetAttribute', pref, attribute, value, value.length)
      const results = Buffer.alloc(ASKED * RESULT_BYTES)
      const count = new Int32Array(1)
      const asked = inOrder([
        prefer(PREF.workspace, pointer(BigInt(workspace.bytes))),
        prefer(PREF.alignA, i32(alignOf(p.b))),
        prefer(PREF.alignB, i32(alignOf(p.a))),
        prefer(PREF.alignC, i32(alignOf(p.c ?? p.d))),
        prefer(PREF.alignD, i32(alignOf(p.d))),
        () =>
          lt.call(
            'cublasLtMatmulAlgoGetHeuristic',
            lt.handle,
            desc,
            ...layouts,
            pref,
            ASKED,
            results,
            count,
          ),
      ])
      const found = pipe(
        asked,
        E.map(() =>
          Array.from({ length: count[0]! }, (_, i) =>
            results.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES),
          )
            .filter((r) => r.readInt32LE(72) === 0)
            .map((r) => Buffer.from(r.subarray(0, ALGORITHM_BYTES))),
        ),
        // No algorithm for these types, strides or alignments: a finding, not a failure.
        E.orElse((e) => (e.name === 'CUBLAS_STATUS_NOT_SUPPORTED' ? E.right([]) : E.left(e))),
      )
      return ending(found, () => lt.call('cublasLtMatmulPreferenceDestroy', pref))
    }),
  )

export const destroyPlan = (lt: BlasLt, plan: Pick<Plan, 'desc' | 'layouts'>): Cuda<void> =>
  inOrder([
    ...plan.layouts.map((l) => () => lt.call('cublasLtMatrixLayoutDestroy', l)),
    () => lt.call('cublasLtMatmulDescDestroy', plan.desc),
  ])

/** Null where cuBLASLt has no algorithm for the product. */
export const makePlan = (lt: BlasLt, p: Product, workspace: Workspace): Cuda<Plan | null> => {
  const layout = (m: Operand) =>
    handle((out) =>
      lt.call('cublasLtMatrixLayoutCreate', out, TYPE[m.dtype], m.columns, m.rows, m.ld),
    )
  return pipe(
    checked(p),
    E.chain(() => handle((out) => lt.call('cublasLtMatmulDescCreate', out, COMPUTE_32F, TYPE.f32))),
    E.bindTo('desc'),
    E.bind('layouts', () => each([p.b, p.a, p.c ?? p.d, p.d], layout)),
    E.chain((made) => {
      const { desc } = made
      const layouts = made.layouts as unknown as Plan['layouts']
      const found = pipe(
        set(lt, desc, settings(p)),
        E.chain(() => proposals(lt, p, desc, layouts, workspace)),
      )
      if (E.isRight(found) && found.right.length > 0) {
        const [algorithm] = found.right
        return E.right<never, Plan>({
          key: keyOf(p),
          desc,
          layouts,
          candidates: found.right,
          algorithm: algorithm!,
        })
      }
      return ending(E.isLeft(found) ? found : E.right(null), () =>
        destroyPlan(lt, { desc, layouts }),
      )
    }),
  )
}

/** Whether an algorithm of an earlier run fits the plan. */
export const accepts = (
  lt: BlasLt,
  plan: Plan,
  algorithm: Algorithm,
  workspace: Workspace,
): boolean => {
  const result = Buffer.alloc(RESULT_BYTES)
  const r = lt.call(
    'cublasLtMatmulAlgoCheck',
    lt.handle,
    plan.desc,
    ...plan.layouts,
    algorithm,
    result,
  )
  return E.isRight(r) && result.readBigUInt64LE(64) <= BigInt(workspace.bytes)
}

export const multiply = (
  lt: BlasLt,
  stream: bigint,
  plan: Plan,
  p: Product,
  workspace: Workspace,
  algorithm: Algorithm = plan.algorithm,
): Cuda<void> => {
  const [la, lb, lc, ld] = plan.layouts
  return pipe(
    set(lt, plan.desc, factors(p)),
    E.chain(() =>
      lt.call(
        'cublasLtMatmul',
        lt.handle,
        plan.desc,
        Float32Array.of(p.alpha),
        p.b.address,
        la,
        p.a.address,
        lb,
        Float32Array.of(p.beta),
        (p.c ?? p.d).address,
        lc,
        p.d.address,
        ld,
        algorithm,
        workspace.address,
        workspace.bytes,
        stream,
      ),
    ),
  )
}
