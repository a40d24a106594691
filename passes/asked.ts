/** A program that is asked, not trained: only some of its functions are kept. */
import * as E from 'fp-ts/lib/Either.js'
import type { Pass } from './pass.ts'

/** After the passes that look at weights: what tells the output head from a linear layer is how other functions use it. */
export const asked = (fns: ReadonlyArray<string>): Pass => ({
  name: `asked(${fns.join(', ')})`,
  keeps: 'exact',
  run: (p) => E.right({ ...p, fns: p.fns.filter((f) => fns.includes(f.name)) }),
  promise: (p) => {
    const other = p.fns.find((f) => !fns.includes(f.name))
    return other === undefined ? null : `@${other.name} is not asked for`
  },
})
