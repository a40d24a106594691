/** What of a model is trained itself beside its adapters: whole modules, and biases. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Program, State } from '../ir/graph.ts'
import type { Reason } from '../ir/reason.ts'
import { rewrite, usesOf } from './rewrite.ts'

export interface Also {
  /** Modules trained in full, by the end of their paths; PEFT's `modules_to_save`. */
  readonly save?: ReadonlyArray<string>
  /** Biases: none, all there are, or those of adapted modules. */
  readonly bias?: 'none' | 'all' | 'lora_only'
}

const HEAD = 'lm_head'
const EMBEDDING = 'embed_tokens'

/** Paths of the modules that a tensor lies in, itself among them. */
const modulesAround = (tensor: string): ReadonlyArray<string> => {
  const parts = tensor.split('.').slice(0, -1)
  return parts.map((_, i) => parts.slice(0, i + 1).join('.'))
}

/** As PEFT: a path that ends so, wherever its last name begins. */
export const isSaved =
  ({ save = [] }: Also) =>
  ({ name }: Pick<State, 'name'>): boolean =>
    modulesAround(name).some((m) => save.some((s) => m.endsWith(s)))

/** The matrix that embeds tokens and, read by another op, gives logits. */
const shared = (p: Program): State | undefined => {
  const uses = usesOf(p)
  return p.state.find((s) => {
    const ops = (uses.get(s.name) ?? []).map((u) => u.eqn.op)
    return ops.includes('embed') && ops.some((op) => op !== 'embed')
  })
}

/** Where only one of embedding and head is trained, or each by itself, they are no longer one matrix. */
export const untied =
  ({ save = [] }: Also) =>
  (p: Program): E.Either<Reason, Program> => {
    const table = save.some((s) => s === HEAD || s === EMBEDDING) ? shared(p) : undefined
    if (table === undefined) return E.right(p)
    const head: State = { ...table, name: `${HEAD}.weight` }
    return rewrite(p, [...p.state, head], ({ eqn, args, b, state }) => {
      const at = [0, 1].find((i) => state(i)?.name === table.name)
      return at === undefined || eqn.op === 'embed'
        ? null
        : b.emit(eqn.op, eqn.attrs, ...args.map((a, i) => (i === at ? b.read(head) : a)))
    })
  }

const lost = (target: string, of: string, known: ReadonlyArray<string>): E.Either<Reason, never> =>
  E.left({ _tag: 'NoMatch', target, known, of })

/** The biases of a program that are asked for. Left: there are none. */
const biases = (
  { bias = 'none' }: Also,
  p: Program,
  adapted: ReadonlyArray<string>,
): E.Either<Reason, ReadonlyArray<string>> => {
  if (bias === 'none') return E.right([])
  const all = p.state.filter((s) => s.name.endsWith('.bias')).map((s) => s.name)
  const meant = bias === 'all' ? all : all.filter((n) => adapted.includes(n.replace(/\.bias$/, '')))
  return meant.length > 0 ? E.right(meant) : lost(`bias_type ${bias}`, 'bias_type', ['none'])
}

/** Names of the tensors of the model that are trained. Left: a setting that means none of them. */
export const alsoTrained = (
  o: Also,
  p: Program,
  adapted: ReadonlyArray<string>,
): E.Either<Reason, ReadonlySet<string>> => {
  const own = p.state.filter((s) => s.role === 'train' || s.role === 'frozen')
  const idle = o.save?.find((s) => !own.some(isSaved({ save: [s] })))
  if (idle !== undefined)
    return lost(idle, 'modules_to_save', [
      ...new Set(own.map((s) => modulesAround(s.name).at(-1)!.split('.').at(-1)!)),
    ])
  return pipe(
    biases(o, p, adapted),
    E.map((names) => new Set([...own.filter(isSaved(o)).map((s) => s.name), ...names])),
  )
}
