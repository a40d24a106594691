/** Cards of attention_wgmma.cu. */
import type { Fast, TurnBack } from './attention-fast.ts'
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
  type Arg,
  type KernelLaunch,
  type Rows,
} from './card.ts'

const source = (name: string, o: AttentionDims) =>
  kernel('attention_wgmma.cu', name, { ...macros(o.dtype), D: o.dim }, '90a')

/** Multiprocessors of an H100 SXM and an H200; another number only changes how tiles are drawn. */
const MULTIPROCESSORS = 132
const tileBytes = (o: AttentionDims): number => 256 * o.dim

const map = (o: AttentionDims, r: Rows, heads: number, boxRows: 64 | 128): Arg => ({
  _tag: 'map',
  offset: r.offset,
  rows: tokens(o),
  columns: heads * o.dim,
  ld: r.ld,
  boxRows,
})

export const attentionWgmma = (
  o: AttentionOperands & Fast & { readonly counter: number },
): KernelLaunch =>
  launch(
    source('attention_wgmma', o),
    [Math.min(MULTIPROCESSORS, o.heads * divide(o.length, 128) * o.rows)],
    384,
    [
      map(o, o.q, o.heads, 128),
      map(o, o.k, o.kvHeads, 128),
      map(o, o.v, o.kvHeads, 128),
      at(o.segments),
      at(o.ranges),
      ...matrix(o.out),
      at(o.lse),
      at(o.counter),
      i32(o.heads),
      i32(o.heads / o.kvHeads),
      i32(o.rows),
      i32(o.length),
      f32(scale(o)),
    ],
    moved(o, 2, 2),
    flops(o, 2),
    1024 + 5 * tileBytes(o),
  )

export const attentionGradWgmma = (
  o: AttentionGradOperands & Fast & { readonly turn?: TurnBack },
): ReadonlyArray<KernelLaunch> => {
  const inputs = (boxRows: 64 | 128) => [
    map(o, o.q, o.heads, boxRows),
    map(o, o.k, o.kvHeads, 128),
    map(o, o.v, o.kvHeads, 128),
    map(o, o.ct, o.heads, boxRows),
    at(o.segments),
    at(o.ranges),
  ]
  const dims = [
    maybe(o.turn?.cos),
    maybe(o.turn?.sin),
    i32(o.heads),
    i32(o.heads / o.kvHeads),
    i32(o.length),
    u32(tokens(o)),
    f32(scale(o)),
  ]
  const shared = 1024 + 6 * tileBytes(o)
  const tiles = divide(o.length, 128)
  return [
    launch(
      source('attention_wgmma_queries', o),
      [o.heads, tiles, o.rows],
      384,
      [
        ...inputs(128),
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
      source('attention_wgmma_keys', o),
      [o.kvHeads, tiles, o.rows],
      384,
      [...inputs(64), at(o.workspace), ...matrix(o.dk), ...matrix(o.dv), ...dims],
      moved(o, 2, 4),
      flops(o, 4),
      shared,
    ),
  ]
}
