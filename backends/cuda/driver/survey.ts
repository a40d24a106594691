/** What of CUDA is on this machine: driver, GPUs with their free memory, libraries. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { findBlasLt } from './blaslt.ts'
import { deviceCount, type DeviceInfo } from './device.ts'
import { openDriver, type Driver, versionOfDriver, type Version, versionText } from './driver.ts'
import { type Cuda, each, ending } from './error.ts'
import { driverHost } from './host.ts'
import { type Room, roomOf } from './memory.ts'
import { openNvrtc } from './nvrtc.ts'
import type { Where } from './places.ts'

export interface Found {
  readonly version: string
  readonly path: string
}

export interface Device {
  readonly info: DeviceInfo
  readonly memory: Room
}

export interface Survey {
  readonly driver: Cuda<Found>
  readonly devices: Cuda<ReadonlyArray<Device>>
  readonly nvrtc: Cuda<Found>
  readonly blaslt: Cuda<Found>
}

/** 580.95.05, as the kernel module says it; empty where it does not. */
const moduleVersion = (): string => {
  try {
    const text = fs.readFileSync('/proc/driver/nvidia/version', 'utf8')
    return /Kernel Module.*?\s(\d+\.\d+[.\d]*)/.exec(text)?.[1] ?? ''
  } catch {
    return ''
  }
}

/** Free memory is known only within a context, which is made and given back. */
const deviceAt = (driver: Driver, index: number): Cuda<Device> =>
  pipe(
    driverHost(driver, index),
    E.chain((host) =>
      ending(
        pipe(
          roomOf(driver),
          E.map((memory) => ({ info: host.info, memory })),
        ),
        host.close,
      ),
    ),
  )

const devices = (where: Where): Cuda<ReadonlyArray<Device>> =>
  pipe(
    openDriver(where),
    E.bindTo('driver'),
    E.bind('count', ({ driver }) => deviceCount(driver)),
    E.chain(({ driver, count }) =>
      each(
        Array.from({ length: count }, (_, i) => i),
        (i) => deviceAt(driver, i),
      ),
    ),
  )

/** What the libraries have to suit where no driver says it. */
const ASSUMED: Version = { major: 13, minor: 0 }

export const survey = (where: Where): Survey => {
  const driver = versionOfDriver(where)
  const version = E.isRight(driver) ? driver.right.version : ASSUMED
  return {
    driver: pipe(
      driver,
      E.map((d) => ({
        version: `${moduleVersion()} CUDA ${versionText(d.version)}`.trim(),
        path: d.path,
      })),
    ),
    devices: devices(where),
    nvrtc: pipe(
      openNvrtc(where, E.isRight(driver) ? version : null),
      E.map((n) => ({ version: versionText(n.version), path: n.path })),
    ),
    blaslt: pipe(
      findBlasLt(where, version),
      E.map(({ lib, version: v }) => ({ version: v.text, path: lib.path })),
    ),
  }
}
