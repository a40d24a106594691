/** The GPU of this machine, as far as lowering and planning ask: what it is, what it has free, how fast it is. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { calibrate } from './calibrate.ts'
import { calibrationCodec, h100Calibration, type Calibration } from './calibration.ts'
import { writeWhole } from './driver/cache.ts'
import { ending, type Cuda } from './driver/error.ts'
import type { Gpu } from './driver/gpu.ts'
import { open, settings, targetOf } from './index.ts'
import type { Card } from './lower/targets.ts'

export interface CardHere extends Card {
  readonly calibration: Calibration
  /** Whether it was measured on this card; else it is assumed. */
  readonly measured: boolean
  readonly freeBytes: number
}

/** Grows when what is measured, or how, changes. */
const VERSION = 2

/** Where a card's measurements are kept; null: nowhere. */
const fileOf = ({ info, arch }: Gpu, cacheDir: string | null): string | null =>
  cacheDir === null
    ? null
    : path.join(
        cacheDir,
        `calibration-${VERSION}-${`${info.name} ${arch}`.replace(/[^A-Za-z0-9]+/g, '-')}.json`,
      )

/** What a file holds, or null: it is not there, or not what was written. */
export const readCalibration = (file: string): Calibration | null => {
  try {
    const read = calibrationCodec.decode(JSON.parse(fs.readFileSync(file, 'utf8')))
    return E.isRight(read) ? read.right : null
  } catch {
    return null
  }
}

export const writeCalibration = (file: string, c: Calibration): string | null =>
  writeWhole(file, Buffer.from(`${JSON.stringify(c, null, 1)}\n`))

/** Measured now where it never was; a card that cannot be measured is taken for an H100, and the next run tries again. */
const calibrationFor = (gpu: Gpu, file: string | null) => {
  const known = file === null ? null : readCalibration(file)
  if (known !== null) return { calibration: known, measured: true }
  const made = calibrate(gpu, h100Calibration)
  if (E.isLeft(made)) return { calibration: h100Calibration, measured: false }
  if (file !== null) writeCalibration(file, made.right)
  return { calibration: made.right, measured: true }
}

/** Left: why no GPU works here. */
export const cardHere = (): Cuda<CardHere> =>
  pipe(
    open(),
    E.chain((gpu) =>
      ending(
        pipe(
          gpu.memory(),
          E.map(({ free }) => ({
            name: gpu.info.name,
            target: targetOf(gpu),
            freeBytes: free,
            ...calibrationFor(gpu, fileOf(gpu, settings().cacheDir)),
          })),
        ),
        () => gpu.close(),
      ),
    ),
  )
