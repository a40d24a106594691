/** What a pass is, and the runner that verifies, times and records every stage. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Program } from '../ir/graph.ts'
import { broken, type Reason } from '../ir/reason.ts'
import { verify } from '../ir/verify.ts'

/** How a program's results compare before and after: bit for bit, within rounding, or deliberately different. */
export type Keeps = 'exact' | 'approx' | 'meaning'

export interface Pass {
  /** With its settings: `lora(r=8, alpha=16)`. The part before the bracket is the YAML's word and the file's name. */
  readonly name: string
  readonly keeps: Keeps
  readonly run: (p: Program) => E.Either<Reason, Program>
  /** The postcondition, checked by the runner: what does not hold afterwards, or null. */
  readonly promise?: (after: Program) => string | null
}

/** One line of the trace. */
export interface Stage {
  readonly pass: string
  readonly keeps: Keeps
  readonly program: Program
  /** Milliseconds, by the runner's clock. */
  readonly took: number
}

export interface PassError {
  readonly pass: string
  readonly reason: Reason
  /** The program before the failing pass. */
  readonly program: Program
}

export interface Compiled {
  readonly program: Program
  readonly trace: ReadonlyArray<Stage>
}

const checked = (pass: Pass, p: Program): E.Either<Reason, Program> =>
  pipe(
    pass.run(p),
    E.chain(verify),
    E.chain((after) => {
      const gap = pass.promise?.(after) ?? null
      return gap === null ? E.right(after) : E.left(broken(gap))
    }),
  )

/** Runs passes in order; the trace holds the program after each, the first entry being the start. */
export const compile =
  (passes: ReadonlyArray<Pass>, clock: () => number = () => 0) =>
  (start: Program): E.Either<PassError, Compiled> => {
    const trace: Stage[] = [{ pass: 'forward', keeps: 'exact', program: start, took: 0 }]
    let program = start
    for (const pass of passes) {
      const begun = clock()
      const after = checked(pass, program)
      if (E.isLeft(after)) return E.left({ pass: pass.name, reason: after.left, program })
      program = after.right
      trace.push({ pass: pass.name, keeps: pass.keeps, program, took: clock() - begun })
    }
    return E.right({ program, trace })
  }

/** The word before the bracket: `lora(r=8)` is `lora`. */
export const shortName = (pass: string): string => pass.replace(/\(.*$/, '')

/** Passes form a monoid: `id` changes nothing, `then` runs one after the other. */
export const id: Pass = { name: 'id', keeps: 'exact', run: E.right }
export const andThen = (a: Pass, b: Pass): Pass => ({
  name: `${a.name} > ${b.name}`,
  keeps: [a.keeps, b.keeps].includes('meaning')
    ? 'meaning'
    : [a.keeps, b.keeps].includes('approx')
      ? 'approx'
      : 'exact',
  run: (p) =>
    pipe(
      checked(a, p),
      E.chain((q) => checked(b, q)),
    ),
})
