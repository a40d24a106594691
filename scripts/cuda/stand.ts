/** Where a check runs: on the GPU, or its launches emulated on the CPU. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Backend, Session } from '../../backends/backend.ts'
import {
  cuda,
  open,
  prepareCuda,
  settings,
  targetOf,
  type Settings,
} from '../../backends/cuda/index.ts'
import { cardHere } from '../../backends/cuda/here.ts'
import { cardOf } from '../../backends/cuda/lower/targets.ts'
import type { Program } from '../../ir/graph.ts'
import { assumedDevice, type Device } from '../../src/plan/device.ts'
import { emulated } from '../../test/cuda/backend.ts'
import { right } from '../../test/right.ts'
import { cramped, type Cramped } from './cramped.ts'

export interface Stand {
  readonly name: string
  readonly emulated: boolean
  /** What plans are made for. */
  readonly device: Device
  readonly backend: Backend
  /** Where a check may write. */
  readonly folder: string
  /** Sessions that allocate what the plan says and no byte more, between guarded ends. */
  readonly cramped: () => Cramped
}

const emulatedCramped = (backend: Backend): Cramped => ({
  // The emulated arena has guarded ends of its own, and its runs fail where they were written.
  open: async (p, room) => ({
    session: right(await backend.prepare(p, room)()),
    faults: () => [],
  }),
  close: () => undefined,
})

/** `arch`: the Turing path, `compute_75`, of a newer card. */
const gpuStand = (folder: string, arch?: string): Stand => {
  const here = right(cardHere())
  const s: Settings = { ...settings(), ...(arch === undefined ? {} : { arch }) }
  const gpu = right(open(s))
  const target = targetOf(gpu)
  right(gpu.close())
  const prepare: Backend['prepare'] = (p, room) => async () => {
    const opened = prepareCuda(p, room, s)
    return opened._tag === 'Right'
      ? opened
      : {
          ...opened,
          left: { _tag: 'BackendError' as const, backend: 'cuda', message: opened.left.message },
        }
  }
  return {
    name: `${here.name}${arch === undefined ? '' : ` as ${arch}`}`,
    emulated: false,
    device: { ...here, target },
    backend: { ...cuda, prepare },
    folder,
    cramped: () => cramped(s),
  }
}

/** The folder given, or one of its own. */
export const folderOf = (given: string | undefined): string => {
  const folder = given ?? fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-cuda-'))
  fs.mkdirSync(folder, { recursive: true })
  return folder
}

export const standOf = (o: {
  readonly emulated: boolean
  readonly folder?: string
  readonly arch?: string
}): Stand => {
  const folder = folderOf(o.folder)
  if (!o.emulated) {
    // Compiled kernels, algorithms and calibration are kept from one call to the next.
    process.env['TUNEC_CACHE'] ??= path.join(folder, 'cache')
    return gpuStand(folder, o.arch)
  }
  const { name, target } = cardOf(o.arch ?? 'sm_75')!
  const backend = emulated(target)
  return {
    name: backend.name,
    emulated: true,
    device: { ...assumedDevice, name, target },
    backend,
    folder,
    cramped: () => emulatedCramped(backend),
  }
}

/** Runs a body with a session, which is closed afterwards. */
export const withSession = async <T>(
  backend: Backend,
  p: Program,
  body: (s: Session) => Promise<T>,
): Promise<T> => {
  const s = right(await backend.prepare(p)())
  try {
    return await body(s)
  } finally {
    right(await s.close()())
  }
}
