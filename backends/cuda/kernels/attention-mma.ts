/** Cards of attention_mma.cu. */
import type { Fast, MmaEngine, TurnBack } from './attention-fast.ts'
import {
  flops,
  moved,
  scale,
  tokens,
  type AttentionDims,
  type AttentionGradOperands,
  type AttentionOperands,
} from './attention.ts'
import {
  at,
  divide,
  f32,
  i32,
  kernel,
  launch,
  macros,
  matrix,
  maybe,
  u32,
  type KernelLaunch,
} from './card.ts'

/** Turing's 64 KB hold one tile of keys and values beside 64 queries; later ones hold two beside 128. */
const shapes = {
  mma75: { WARPS: 4, STAGES: 1, needs: 75 },
  mma: { WARPS: 8, STAGES: 2, needs: 80 },
} as const

const source = (engine: MmaEngine, name: string, o: AttentionDims) => {
  const { WARPS, STAGES, needs } = shapes[engine]
  const defines = { ...macros(o.dtype), D: o.dim, WARPS, STAGES }
  return kernel('attention_mma.cu', name, defines, needs)
}
export const attentionMma = (engine: MmaEngine, o: AttentionOperands & Fast): KernelLaunch => {
  const { WARPS, STAGES } = shapes[engine]
  return launch(
    source(engine, 'attention_mma', o),
    [o.heads, o.rows, divide(o.length, 16 * WARPS)],
    32 * WARPS,
    [
      ...[o.q, o.k, o.v].flatMap(matrix),
      at(o.segments),
      at(o.ranges),
      ...matrix(o.out),
      at(o.lse),
      u32(o.heads),
      u32(o.heads / o.kvHeads),
      i32(o.length),
      f32(scale(o)),
    ],
    moved(o, 2, 2),
    flops(o, 2),
    2 * o.dim * (16 * WARPS + 128 * STAGES),
  )
}

export const attentionGradMma = (
  engine: MmaEngine,
  o: AttentionGradOperands & Fast & { readonly turn?: TurnBack },
): ReadonlyArray<KernelLaunch> => {
  const { STAGES } = shapes[engine]
  const inputs = [...[o.q, o.k, o.v].flatMap(matrix), at(o.segments), at(o.ranges)]
  const dims = [
    maybe(o.turn?.cos),
    maybe(o.turn?.sin),
    u32(o.heads),
    u32(o.heads / o.kvHeads),
    i32(o.length),
    u32(tokens(o)),
    f32(scale(o)),
  ]
  const tiles = divide(o.length, 64)
  const shared = 2 * o.dim * (128 + 128 * STAGES)
  return [
    launch(
      source(engine, 'attention_mma_queries', o),
      [o.heads, o.rows, tiles],
      128,
      [
        ...inputs,
        ...matrix(o.out),
        ...matrix(o.ct),
        at(o.lse),
        at(o.workspace),
        ...matrix(o.dq),
        ...dims,
      ],
      moved(o, 4, 2),
      flops(o, 3),
      shared,
    ),
    launch(
      source(engine, 'attention_mma_keys', o),
      [o.kvHeads, o.rows, tiles],
      128,
      [...inputs, ...matrix(o.ct), at(o.workspace), ...matrix(o.dk), ...matrix(o.dv), ...dims],
      moved(o, 2, 4),
      flops(o, 4),
      shared + (STAGES === 2 ? 1024 : 0),
    ),
  ]
}
