/** Which program a config becomes: rows of a micro-batch, recomputation and decoded weights that stay, within what memory there is. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Room } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { shortName, type Compiled } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import type { Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { Shapes } from '../models/llama.ts'
import type { Techniques } from '../pipeline.ts'
import type { Pretrained } from './adapter.ts'
import type { Dataset } from './dataset.ts'
import { machineOf, type Machine } from './machine.ts'
import { compileWith } from './program.ts'
import { roomsFor } from './room.ts'
import { candidatesOf, shapesOf, type Candidate } from './shapes.ts'
import { ofBase, techniquesOf } from './techniques.ts'

/** What planning starts from. */
export interface Wish {
  readonly config: Config
  readonly base: Base
  readonly pretrained: Pretrained | null
  readonly data: Dataset | null
  readonly machine: Machine
  /** Bytes that the config names; null: none. */
  readonly budget: number | null
  /** Milliseconds, for the trace. */
  readonly clock: () => number
}

/** A way that was compiled and measured. */
export interface Considered {
  readonly rows: number
  readonly length: number
  readonly recomputes: boolean
  readonly room: Room | null
  readonly total: number
  /** Predicted seconds of an optimizer step; of steps that hold more, as if they held as much as the others. */
  readonly seconds: number
}

export interface Chosen {
  readonly compiled: Compiled
  readonly techniques: Techniques
  readonly shapes: Shapes
  readonly room: Room | null
  /** The shapes that were wanted before a budget had its say. */
  readonly wanted: Shapes
  readonly arenaBytes: number
  readonly totalBytes: number
  /** The choice and what else would have fitted, fastest first; empty where nothing was weighed. */
  readonly considered: ReadonlyArray<Considered>
}

type Tried = Omit<Chosen, 'considered' | 'wanted'>

const attempt = (w: Wish, techniques: Techniques, shapes: Shapes): E.Either<Issues, Tried> =>
  pipe(
    compileWith(w.base, techniques, shapes, w.clock, w.machine),
    E.map((compiled) => {
      const arenaBytes = w.machine.arena(compiled.program)
      const totalBytes = arenaBytes + w.machine.overhead
      return { compiled, techniques, shapes, room: w.machine.room, arenaBytes, totalBytes }
    }),
  )

/** Halves the rows of a micro-batch until the arena is within the budget, or one row is left. */
const shrunk = (w: Wish, techniques: Techniques, wanted: Shapes): E.Either<Issues, Chosen> => {
  const from = (shapes: Shapes): E.Either<Issues, Tried> =>
    pipe(
      attempt(w, techniques, shapes),
      E.chain((t) =>
        w.budget === null ||
        w.config.compiler.micro_batch_rows !== 'auto' ||
        shapes.rows === 1 ||
        t.totalBytes <= w.budget
          ? E.right(t)
          : from({ ...shapes, rows: Math.ceil(shapes.rows / 2) }),
      ),
    )
  return pipe(
    from(wanted),
    E.map((t) => ({ ...t, wanted, considered: [] })),
  )
}

const recomputed = (p: Program): number =>
  p.fns.reduce((n, f) => n + f.eqns.filter((e) => e.place.stage === 'recompute').length, 0)

/** Whether recomputation changed anything. */
const recomputes = ({ trace }: Compiled): boolean => {
  const at = trace.findIndex((s) => shortName(s.pass) === 'rematerialize')
  return at > 0 && recomputed(trace[at]!.program) > recomputed(trace[at - 1]!.program)
}

interface Weighed {
  readonly is: Considered
  readonly tried: Tried
}

/** One compiled program in every room that is worth a look; none is compiled again. `share`: of the work that others do in a step. */
const weigh = (
  { machine: { device, overhead } }: Wish,
  tried: Tried,
  { microSteps, shapes: { rows, length } }: Candidate,
  share: number,
  limit: number,
): ReadonlyArray<Weighed> => {
  const p = tried.compiled.program
  const computed = recomputes(tried.compiled)
  const arenaIn = (room: Room) => machineOf(device, room).arena(p)
  const ways = roomsFor(p, limit - overhead, arenaIn).map((room): Weighed => {
    const { seconds } = machineOf(device, room)
    const arenaBytes = arenaIn(room)
    const total = arenaBytes + overhead
    const step = microSteps * seconds!(p, 'micro') + seconds!(p, 'update')
    return {
      is: { rows, length, recomputes: computed, room, total, seconds: step / share },
      tried: { ...tried, room, arenaBytes, totalBytes: total },
    }
  })
  // Memory that makes nothing faster is left alone.
  return ways.filter((x, i) => i === 0 || x.is.seconds < ways[0]!.is.seconds)
}

const leastSeconds = (list: ReadonlyArray<Weighed>): number =>
  list.reduce((m, x) => Math.min(m, x.is.seconds), Infinity)

/** Fewest rows first, and of those that are nearly alike one. */
const rungs = (all: ReadonlyArray<Candidate>): ReadonlyArray<Candidate> =>
  all
    .toSorted((a, b) => a.shapes.rows - b.shapes.rows)
    .reduce<ReadonlyArray<Candidate>>(
      (list, c) =>
        list.length > 1 && c.shapes.rows < 1.25 * list.at(-1)!.shapes.rows ? list : [...list, c],
      [],
    )

/** A choice that is faster by less than this is not worth its memory. */
const CLOSE = 1.01

/** Rows are added while they fit and pay: a larger micro-batch decodes less often, and recomputes more to fit. */
const fastest = (w: Wish, techniques: Techniques, limit: number): E.Either<Issues, Chosen> => {
  const all = rungs(candidatesOf(w.config, w.base.spec, w.data, w.machine.shapes))
  const worth = Math.max(...all.map((c) => c.worth))
  const weighed: Weighed[] = []
  let worse = 0
  for (const c of all) {
    const made = attempt(w, techniques, c.shapes)
    if (E.isLeft(made)) return made
    const ways = weigh(w, made.right, c, c.worth / worth, limit)
    worse = leastSeconds(ways) * CLOSE < leastSeconds(weighed) ? 0 : worse + 1
    weighed.push(...ways)
    if (ways[0]!.is.total > limit || worse === 2) break
  }
  const fitting = weighed.filter((x) => x.is.total <= limit)
  const best = leastSeconds(fitting)
  const chosen =
    fitting
      .filter((x) => x.is.seconds <= CLOSE * best)
      .toSorted((a, b) => a.is.total - b.is.total)[0] ?? weighed[0]!
  const others = fitting.filter((x) => x !== chosen).toSorted((a, b) => a.is.seconds - b.is.seconds)
  return E.right({
    ...chosen.tried,
    wanted: chosen.tried.shapes,
    considered: [chosen, ...others].map((x) => x.is),
  })
}

/** Compiles what trains fastest within the memory there is; where none is named and no GPU is at hand, what the config says as it stands. */
export const chosenFor = (w: Wish): E.Either<Issues, Chosen> => {
  const { device, shapes } = w.machine
  const limit = w.budget ?? device?.freeBytes ?? null
  const techniques = ofBase(
    techniquesOf(w.config, limit, device?.target ?? null, w.pretrained, w.base.spec.family),
    w.base,
  )
  // Without training there is nothing to weigh: answers are the same in any batches.
  if (device !== null && limit !== null && techniques.frozen === undefined)
    return fastest(w, techniques, limit)
  const costs = { ...shapes, tokens: Math.min(shapes.tokens, shapes.batchTokens) }
  return shrunk(w, techniques, shapesOf(w.config, w.base.spec, w.data, costs))
}
