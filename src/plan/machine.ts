/** What planning has to know of the backend: the memory a program takes, the time it needs, and what shapes cost. */
import type { Room } from '../../backends/backend.ts'
import { secondsOfAll } from '../../backends/cuda/calibration.ts'
import { lower, mastersOf, type Lowered } from '../../backends/cuda/lower/lower.ts'
import { occupancyOf, type Occupancy } from '../../backends/cuda/lower/occupancy.ts'
import { usualRoom } from '../../backends/cuda/lower/context.ts'
import { WORKSPACE } from '../../backends/cuda/session.ts'
import type { Fn, Program } from '../../ir/graph.ts'
import { byLiveness, type Measure } from '../../passes/index.ts'
import { buffers, peakOf, stateBytes } from '../../passes/memory.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import type { Device } from './device.ts'
import { LEAN } from './room.ts'
import { cpuShapes, gpuShapes, type ShapeCosts } from './shape-costs.ts'

export interface Machine {
  readonly device: Device | null
  /** How programs use the device's memory; null: a CPU, which has no choice. */
  readonly room: Room | null
  /** Bytes of the one arena that a scheduled program runs in. */
  readonly arena: (p: Program) => number
  /** Bytes that are taken besides. */
  readonly overhead: number
  /** What a budget counts. */
  readonly measure: Measure
  /** Bytes of a function's temporaries. */
  readonly peak: (p: Program, f: Fn) => number
  readonly occupancy: (p: Program, f: Fn) => Occupancy
  readonly shapes: ShapeCosts
  /** Predicted seconds of a function; null where there is no model of it. */
  readonly seconds: ((p: Program, fn: string) => number) | null
}

/** The program as it is, every value in one arena. */
const cpu: Machine = {
  device: null,
  room: null,
  arena: arenaBytes,
  overhead: 0,
  measure: byLiveness,
  peak: peakOf,
  occupancy: (p, f) => ({
    list: buffers(p, f),
    steps: f.eqns.length,
    equationOf: (step) => Math.min(step, f.eqns.length - 1),
  }),
  shapes: cpuShapes,
  seconds: null,
}

/** The launches that a GPU runs. */
const gpu = (device: Device, room: Room): Machine => {
  const target = { ...device.target, ...room }
  // A budget is met by decoding less at once before anything is computed again.
  const lean = { ...target, scratch: Math.min(room.scratch, LEAN) }
  const known = new WeakMap<Program, Lowered>()
  const lowered = (p: Program): Lowered => {
    const made = known.get(p) ?? lower(p, target)
    known.set(p, made)
    return made
  }
  const alone = (p: Program, f: Fn): Lowered => lower({ ...p, fns: [f] }, lean)
  const overhead = WORKSPACE + device.calibration.contextBytes
  return {
    device,
    room,
    arena: (p) => lowered(p).arenaBytes,
    overhead,
    measure: (p, f) => alone(p, f).arenaBytes + overhead,
    peak: (p, f) =>
      (lowered(p).fns.find((x) => x.name === f.name)?.end ?? stateBytes(p)) - stateBytes(p),
    occupancy: (p, f) => occupancyOf(p, f, target, mastersOf(p, lowered(p).state)),
    shapes: gpuShapes(device),
    seconds: (p, fn) => {
      const own = secondsOfAll(
        lowered(p).fns.find((x) => x.name === fn)?.launches ?? [],
        device.calibration,
      )
      if (room.keep === 0) return own
      const decoding = machineOf(device, { ...room, keep: 0 }).seconds!(p, fn)
      return decoding - device.calibration.kept * (decoding - own)
    },
  }
}

const machines = new Map<string, Machine>()

/** The machine of a device and a way to use its memory, one for each: what it has lowered is kept as long as its program. */
export const machineOf = (device: Device | null, room: Room | null = null): Machine => {
  if (device === null) return cpu
  const key = JSON.stringify([device, room ?? usualRoom])
  const made = machines.get(key) ?? gpu(device, room ?? usualRoom)
  machines.set(key, made)
  return made
}
