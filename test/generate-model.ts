/** Tiny models that answer, and answers worked out again the slow way: the whole sequence anew for each token. */
import type { Backend, Session } from '../backends/backend.ts'
import { encode } from '../backends/bytes.ts'
import type { Grid, Request } from '../src/generate/generate.ts'
import type { Options } from '../src/generate/options.ts'
import { generationPlan } from '../src/generate/plan.ts'
import type { Techniques } from '../src/pipeline.ts'
import { stateTensor } from './laws.ts'
import { adamw, plainSpec, worldOn } from './programs.ts'
import { right } from './right.ts'

export const tiny = { ...plainSpec, layers: 2, kvHeads: 2, heads: 4, vocab: 11 }

export const untouched: Techniques = {
  lora: null,
  quantize: null,
  compute: 'f32',
  optimizer: adamw,
  recompute: { _tag: 'none' },
}

/** A session of the tiny model with weights of its own for each seed. */
export const tinySession = async (backend: Backend, g: Grid, seed: number): Promise<Session> => {
  const base = { name: 'tiny', folder: null, spec: tiny, packed: null, remarks: [] }
  const { program } = right(generationPlan(base, untouched, g))
  const session = right(await backend.prepare(program)())
  const world = worldOn(seed, [], 1)
  for (const s of program.state)
    right(await session.write(s.name, encode(s.type, stateTensor(world, s).data))())
  return session
}

export const greedy = (more: Partial<Options> = {}): Options => ({
  sampling: { temperature: 0, topK: 0, topP: 1, seed: 1 },
  maxNew: 5,
  minNew: 0,
  bosId: null,
  eosIds: [],
  vocab: tiny.vocab,
  decode: (ids) => ids.join(' '),
  ...more,
})

export const requests = (prompts: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<Request> =>
  prompts.map((prompt, sequence) => ({ prompt, sequence }))

/** The likeliest ids by `prefill` of the sequence so far, which must fit the grid's prompt; ends before an EOS. */
export const recomputed = async (
  session: Session,
  g: Grid,
  prompt: ReadonlyArray<number>,
  count: number,
  eosIds: ReadonlyArray<number> = [],
): Promise<ReadonlyArray<number>> => {
  const ids: Array<number> = []
  while (ids.length < count) {
    const so = [...prompt, ...ids]
    const grid = (of: (i: number) => number) =>
      Int32Array.from({ length: g.batch * g.prompt }, (_, i) => of(i % g.prompt))
    const inputs = {
      tokens: grid((i) => so[i] ?? 0),
      positions: grid((i) => i),
      segments: grid((i) => Number(i < so.length)),
      last: Int32Array.from({ length: g.batch }, (_, r) => r * g.prompt + so.length - 1),
    }
    const { logits } = right(await session.run('prefill', inputs)())
    const row = Array.from(logits!.subarray(0, logits!.length / g.batch))
    const id = row.indexOf(Math.max(...row))
    if (eosIds.includes(id)) break
    ids.push(id)
  }
  return ids
}
