/** What is asked and never trained: every weight is frozen, so that it may be quantized and narrowed. */
import * as E from 'fp-ts/lib/Either.js'
import type { State } from '../ir/graph.ts'
import type { Pass } from './pass.ts'

export const freeze: Pass = {
  name: 'freeze',
  keeps: 'exact',
  run: (p) =>
    E.right({
      ...p,
      state: p.state.map((s): State => (s.role === 'train' ? { ...s, role: 'frozen' } : s)),
    }),
  promise: (p) => {
    const trained = p.state.find((s) => s.role === 'train')
    return trained === undefined ? null : `${trained.name} is still trained`
  },
}
