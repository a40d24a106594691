/** 8-bit optimizers (Dettmers et al. 2022): what is kept for a tensor lies in 8 bits between steps, decoded before and encoded after each. */
import * as E from 'fp-ts/lib/Either.js'
import { BLOCK } from '../ir/eight.ts'
import { building } from '../ir/build.ts'
import type { Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { like, size, tensor } from '../ir/type.ts'
import { slotOf, unsignedKinds } from './optimizers/index.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, usesOf, type Rule } from './rewrite.ts'

export interface EightBit {
  /** Tensors with fewer values keep their state in 32 bits. */
  readonly least: number
}

/** bitsandbytes' `min_8bit_size`. */
export const LEAST = 4096

export const scalesName = (state: string): string => {
  const { kind, trained } = slotOf(state)
  return `${kind}_scales.${trained}`
}

const isUnsigned = (state: string): boolean => unsignedKinds.has(slotOf(state).kind)

/** State of whole tensors, large enough; embeddings keep theirs in 32 bits, as Ludwig has bitsandbytes do. */
const chosen = (p: Program, o: EightBit): ReadonlyArray<State> => {
  const uses = usesOf(p)
  const embeds = (name: string): boolean => (uses.get(name) ?? []).some((u) => u.eqn.op === 'embed')
  return p.state.filter(
    (s) =>
      s.role === 'optimizer' &&
      s.type.dtype === 'f32' &&
      size(s.type) >= o.least &&
      p.state.some((w) => w.name === slotOf(s.name).trained) &&
      !slotOf(s.name).kind.endsWith('_scales') &&
      !embeds(slotOf(s.name).trained),
  )
}

const inEightBits = (s: State): ReadonlyArray<State> => [
  // Codes and scales of 0 decode to zeros.
  { ...s, type: like(s.type, 'u8') },
  { ...s, name: scalesName(s.name), type: tensor('f32', Math.ceil(size(s.type) / BLOCK)) },
]

const encoded = (f: Fn, names: ReadonlySet<string>, states: ReadonlyMap<string, State>): Fn => {
  const readOf = new Map(f.reads.map((r) => [r.id, r.state]))
  const becomes = new Map(
    f.updates.flatMap((u) => (names.has(u.state) ? [[u.id, u.state] as const] : [])),
  )
  const decoded = new Map<string, Id>()
  const made: Array<Fn['updates'][number]> = []
  const both = (name: string) => [states.get(name)!, states.get(scalesName(name))!] as const
  const rule: Rule = ({ eqn, args, b }) => {
    const values = args.map((a, i) => {
      const name = readOf.get(eqn.args[i]!)
      if (name === undefined || !names.has(name)) return a
      const known = decoded.get(name)
      if (known !== undefined) return known
      const [codes, scales] = both(name).map((s) => b.read(s)) as [Id, Id]
      const id = b.alg.decode8(isUnsigned(name), codes, scales)
      decoded.set(name, id)
      return id
    })
    // A step that is not taken leaves the codes as they are: encoding again would move them.
    const kept = eqn.op === 'select' && becomes.has(eqn.outs[0]!)
    const outs = kept ? [values[1]!] : copy(b, eqn, values)
    eqn.outs.forEach((old: Id, i) => {
      const name = becomes.get(old)
      if (name === undefined) return
      b.alg.encode8(isUnsigned(name), outs[i]!).forEach((id, k) => {
        const s = both(name)[k]!
        made.push({ state: s.name, id: kept ? b.alg.select(args[0]!, id, b.read(s)) : id })
      })
    })
    return outs
  }
  return rebuild(f, states, rule, (_, now) => ({
    updates: [
      ...f.updates.filter((u) => !names.has(u.state)).map((u) => ({ ...u, id: now(u.id) })),
      ...made,
    ],
  }))
}

export const eightBit = (o: EightBit): Pass => ({
  name: `eightBit(blocks of ${BLOCK}, from ${o.least} values)`,
  keeps: 'approx',
  run: (p) => {
    const all = chosen(p, o)
    if (all.length === 0)
      return E.left({
        _tag: 'NoMatch',
        target: `state of at least ${o.least} values`,
        known: [
          'only smaller tensors, whose state stays in 32 bits: write the optimizer without `_8bit`',
        ],
      })
    const names = new Set(all.map((s) => s.name))
    const state = p.state.flatMap((s) => (names.has(s.name) ? inEightBits(s) : [s]))
    const states = stateOf({ ...p, state })
    return building((): Program => ({
      ...p,
      state,
      fns: p.fns.map((f) =>
        f.updates.some((u) => names.has(u.state)) ? encoded(f, names, states) : f,
      ),
    }))
  },
  promise: (p) => {
    const wide = chosen(p, o)[0]
    return wide === undefined ? null : `large state is in 8 bits, but ${wide.name} is not`
  },
})
