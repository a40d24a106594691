/** How products of a handful of rows are split among warps and blocks of threads. */
import { blocks, isFourBit, type TensorType } from '../../../ir/type.ts'
import { divide } from './card.ts'

/** The GPU, as far as the launch depends on it. */
export interface Room {
  readonly sms: number
  /** Bytes of shared memory of a block. */
  readonly shared: number
}

export interface FewShape {
  readonly rows: number
  /** Inner dimension. */
  readonly k: number
  /** Two matrices of one size whose results meet in a swiglu. */
  readonly pair: boolean
}

export interface FewPlan {
  /** Warps that multiply. */
  readonly warps: number
  /** 64-blocks (of 16-bit weights 32 columns) that a warp takes at a time. */
  readonly blocks: number
  /** Rows of x by eights. */
  readonly tiles: number
  /** Parts of the inner dimension, each by blocks of its own, that another launch joins; 0: whole rows, and none. */
  readonly parts: number
  /** 64-blocks of a part. */
  readonly per: number
}

/** Most rows of x. */
export const FEW = 32
/** Most rows that stay whole in shared memory. */
const WHOLE = 16
/** Pairs of codes, and the values of scales' codes. */
const TABLES = 32768 + 1024
/** Floats between rows of a tile's sums. */
const SUM_ROW = 20
/** Shared memory that the kernel has besides the dynamic one. */
const STATIC = 512

/** Whether the kernel reads this encoding at all. */
export const fewReads = (type: TensorType): boolean => {
  if (!isFourBit(type.dtype)) return false
  const { block, nested } = blocks(type.dtype)
  return (
    block === 64 &&
    (nested === 256 || nested === 0) &&
    type.shape.length === 2 &&
    type.shape[1]! % 64 === 0
  )
}

/** As few turns as `most` warps need for the pieces, by as few warps as that takes. */
export const warpsFor = (pieces: number, most: number): number =>
  divide(pieces, divide(pieces, most))
/** Large pieces have more on its way, small ones keep more warps busy. */
const blocksFor = (per: number): number => (divide(per, 4) < 12 ? 2 : 4)

/** Two buffers of all warps' sums. */
export const sumBytes = (warps: number, rows: number): number => 2 * warps * rows * SUM_ROW * 4

/** Tiles of 8 rows that the kernel is compiled for. */
export const tilesOf = (rows: number): number => {
  const eights = divide(rows, 8)
  return eights === 3 ? 4 : eights
}

const wholeBytes = (s: FewShape, { warps, blocks: by }: FewPlan): number =>
  TABLES + 2 * s.rows * (divide(s.k / 64, by) * by * 64 + 8) + sumBytes(warps, s.rows)
const partBytes = (rows: number, warps: number): number => TABLES + sumBytes(warps, rows)

export const sharedBytes = (s: FewShape, plan: FewPlan): number =>
  plan.parts === 0 ? wholeBytes(s, plan) : partBytes(s.rows, plan.warps)

/** Whole rows; null: they do not fit. */
const wholePlan = (s: FewShape, room: Room): FewPlan | null => {
  const per = s.k / 64
  const by = blocksFor(per)
  const warps = warpsFor(divide(per, by), 16)
  const plan = { warps, blocks: by, tiles: tilesOf(s.rows), parts: 0, per }
  return s.rows <= WHOLE && wholeBytes(s, plan) <= room.shared - STATIC ? plan : null
}

/** A warp's columns of x are 8 registers a block and tile of rows: 128 at most, for which 8 warps have room. */
const partsPlan = (s: FewShape, room: Room): FewPlan | null => {
  const tiles = tilesOf(s.rows)
  const [by, all] = [4, s.k / 64]
  const most = tiles === 1 ? 16 : 8
  return (
    [most, 4, 2, 1]
      .map((limit) => {
        const per = divide(all, divide(all, limit * by))
        return { warps: divide(per, by), blocks: by, tiles, parts: divide(all, per), per }
      })
      .find((p) => partBytes(s.rows, p.warps) <= room.shared - STATIC) ?? null
  )
}

/** How the work is split; null: these shapes do not fit the GPU. */
export const fewPlan = (s: FewShape, room: Room): FewPlan | null =>
  s.rows < 1 || s.rows > FEW ? null : (wholePlan(s, room) ?? partsPlan(s, room))
