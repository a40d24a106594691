/** First weights and inputs for a program that nobody has data for. */
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session } from '../../backends/backend.ts'
import { materialize } from '../../backends/materialize.ts'
import { fnOf, type Program } from '../../ir/graph.ts'
import { size } from '../../ir/type.ts'
import { random } from '../../src/data/random.ts'
import { right } from '../../test/right.ts'

/** Norms near one, all else uniform in ±0.1. */
export const fillRandomly = async (s: Session, p: Program, seed: number): Promise<void> => {
  for (const [i, x] of p.state.entries()) {
    const draw = random(seed, i)
    const made = materialize<string>(
      x,
      (key, shape) => {
        const mean = /norm/.test(key) ? 1 : 0
        const n = shape.reduce((a, b) => a * b, 1)
        return TE.right(new Float32Array(n).map(() => mean + 0.2 * (draw.next() / 2 ** 32 - 0.5)))
      },
      seed,
    )
    right(await s.write(x.name, right(await made()))())
  }
}

/** Inputs of a training function by their names; every third target is not scored. */
export const feedsFor = (p: Program, fn: string, vocab: number, length: number): Feeds => {
  const draw = random(17)
  const made: Readonly<Record<string, (i: number, n: number) => number>> = {
    tokens: () => draw.below(vocab),
    positions: (i) => i % length,
    segments: () => 1,
    targets: (i) => (i % 3 === 0 ? -100 : draw.below(vocab)),
    keys: () => draw.next() | 0,
    seed: () => 7,
    step: () => 1,
    lr: () => 1e-3,
  }
  const inputs = fnOf(p, fn)!.inputs
  const tokens = inputs.find((x) => x.name === 'tokens')
  const scored = tokens === undefined ? 1 : Math.floor((2 * size(tokens.type)) / 3)
  return Object.fromEntries(
    inputs.map(({ name, type }) => {
      const n = size(type)
      const of = name === 'inverse_count' ? () => 1 / Math.max(1, scored) : made[name]
      if (of === undefined) throw new Error(`@${fn} has an input ${name}, which no check gives`)
      const list = Array.from({ length: n }, (_, i) => of(i, n))
      return [name, type.dtype === 'i32' ? Int32Array.from(list) : Float32Array.from(list)]
    }),
  )
}
