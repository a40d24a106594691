/** Heads over an encoder are trained whatever becomes of it: beside its adapter, or with the encoder frozen. */
import * as E from 'fp-ts/lib/Either.js'
import type { State } from '../ir/graph.ts'
import type { Pass } from './pass.ts'

/** How the names of their weights begin. */
export const HEADS = 'heads.'

const isHead = (s: State): boolean => s.name.startsWith(HEADS)
const isWeight = (s: State): boolean => s.role === 'train' || s.role === 'frozen'

/** `alone`: nothing else is trained. */
export const heads = (o: { readonly alone: boolean }): Pass => ({
  name: `heads(${o.alone ? 'alone' : 'beside an adapter'})`,
  keeps: 'exact',
  run: (p) =>
    p.state.some(isHead)
      ? E.right({
          ...p,
          state: p.state.map((s): State => {
            if (!isWeight(s)) return s
            return isHead(s) ? { ...s, role: 'train' } : o.alone ? { ...s, role: 'frozen' } : s
          }),
        })
      : E.left({ _tag: 'NoMatch', target: HEADS, known: p.state.map((s) => s.name) }),
  promise: (p) => {
    const odd = p.state.find(
      (s) => isWeight(s) && (isHead(s) ? s.role !== 'train' : o.alone && s.role === 'train'),
    )
    return odd === undefined ? null : `heads are trained, but ${odd.name} is ${odd.role}`
  },
})
