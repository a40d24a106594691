/** A second opinion on a memory plan: walks a function and remembers which value lies in which bytes. */
import type { Fn, Id, Program } from '../ir/graph.ts'
import { stateOf, typesOf } from '../ir/graph.ts'
import { opOf } from '../ir/ops/index.ts'
import { bytes } from '../ir/type.ts'

interface Claim {
  readonly owner: string
  readonly from: number
  readonly to: number
}

/** What of a scheduled function reads or keeps bytes that something else has been written to; empty when sound. */
export const clashes = (p: Program, f: Fn): ReadonlyArray<string> => {
  const [types, states, found] = [typesOf(p, f), stateOf(p), [] as string[]]
  const readOf = new Map(f.reads.map((r) => [r.id, r.state]))
  const nameOf = (id: Id): string => readOf.get(id) ?? `%${id}`
  const span = (id: Id): Claim => {
    const state = readOf.get(id)
    const from = state === undefined ? f.offsets!.get(id)! : states.get(state)!.offset!
    return { owner: nameOf(id), from, to: from + bytes(types.get(id)!) }
  }
  let claims: ReadonlyArray<Claim> = p.state.map((s) => ({
    owner: s.name,
    from: s.offset!,
    to: s.offset! + bytes(s.type),
  }))
  const meet = (a: Claim, b: Claim): boolean => a.from < b.to && b.from < a.to
  const write = (c: Claim): void => {
    if (c.from % 256 !== 0) found.push(`${c.owner} lies at ${c.from}`)
    claims = [...claims.filter((other) => !meet(c, other)), c]
  }
  const need = (id: Id, by: string): void => {
    const { owner, from } = span(id)
    if (!claims.some((c) => c.owner === owner && c.from === from))
      found.push(`${by} needs ${owner}, which has been written over`)
  }
  for (const i of f.inputs) write(span(i.id))
  for (const i of f.inputs) need(i.id, 'the start')
  f.eqns.forEach((e, at) => {
    const by = `${at}: ${e.op}`
    for (const a of e.args) need(a, by)
    const outs = e.outs.map(span)
    outs.forEach((o, k) => {
      if (outs.some((other, j) => j < k && meet(o, other))) found.push(`${by}: results overlap`)
      const over = opOf(e.op).overwrites?.[k]
      e.args.forEach((a, j) => {
        if (!meet(o, span(a))) return
        const sole = e.args.filter((x) => x === a).length === 1
        if (over !== j || span(a).from !== o.from || !sole)
          found.push(`${by}: result ${k} is written over operand ${j} while it is read`)
      })
    })
    outs.forEach(write)
  })
  for (const o of f.outs) need(o.id, `output ${o.name}`)
  const inPlace = new Set<string>()
  for (const u of f.updates) {
    need(u.id, `update ${u.state}`)
    if (span(u.id).from === states.get(u.state)!.offset) inPlace.add(u.state)
  }
  for (const s of p.state)
    if (!inPlace.has(s.name) && !claims.some((c) => c.owner === s.name && c.from === s.offset))
      found.push(`${s.name} was written over and not updated`)
  return found
}

/** Bytes that some moment of a function cannot do without, and bytes of all that are alive around it. */
export const demand = (p: Program, f: Fn): { readonly least: number; readonly most: number } => {
  const types = typesOf(p, f)
  const states = stateOf(p)
  const stateEnd = p.state.reduce((m, s) => Math.max(m, s.offset! + bytes(s.type)), 0)
  const temporary = (id: Id): boolean => (f.offsets!.get(id) ?? 0) >= stateEnd
  const last = new Map<Id, number>()
  f.eqns.forEach((e, i) => e.args.forEach((a) => last.set(a, i)))
  for (const o of [...f.outs, ...f.updates]) last.set(o.id, Infinity)
  const made = [
    ...f.inputs.map((i) => ({ id: i.id, at: -1 })),
    ...f.eqns.flatMap((e, at) => e.outs.map((id) => ({ id, at }))),
  ].filter((v) => temporary(v.id))
  const sum = (alive: (v: { id: Id; at: number }) => boolean): number =>
    made.filter(alive).reduce((n, v) => n + Math.ceil(bytes(types.get(v.id)!) / 256) * 256, 0)
  const moments = f.eqns.map((e, i) => ({
    least: sum((v) => v.at <= i && (last.get(v.id) ?? -1) > i),
    most:
      sum((v) => v.at <= i && (last.get(v.id) ?? v.at) >= i) +
      (opOf(e.op).workspace?.(
        e.attrs,
        e.args.map((a) => types.get(a) ?? states.get('')!.type),
      ) ?? 0),
  }))
  return {
    least: Math.max(0, ...moments.map((m) => m.least)),
    most: Math.max(256, ...moments.map((m) => m.most)) + 256,
  }
}
