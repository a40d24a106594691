/** Resources of a session, counted, and given back when it closes. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Cuda, done } from './error.ts'

export const KINDS = ['allocations', 'pinned', 'modules', 'graphs', 'fences'] as const
export type Kind = (typeof KINDS)[number]

export interface Held {
  /** Takes what was made into account, with the way to give it back. */
  readonly keep: <T>(
    kind: Kind,
    made: Cuda<T>,
    of: (x: T) => bigint,
    release: (x: T) => Cuda<void>,
  ) => Cuda<T>
  /** Gives one back; of what is not held nothing happens. */
  readonly drop: (kind: Kind, id: bigint) => Cuda<void>
  readonly counts: () => Readonly<Record<Kind, number>>
  /** Gives all back, last made first; all are tried, the first error is told. */
  readonly dropAll: () => Cuda<void>
}

export const holding = (): Held => {
  const all = new Map<string, { readonly kind: Kind; readonly release: () => Cuda<void> }>()
  const nameOf = (kind: Kind, id: bigint) => `${kind} ${id}`
  const dropNamed = (name: string): Cuda<void> => {
    const entry = all.get(name)
    if (entry === undefined) return done
    all.delete(name)
    return entry.release()
  }
  return {
    keep: (kind, made, of, release) =>
      pipe(
        made,
        E.map((x) => {
          all.set(nameOf(kind, of(x)), { kind, release: () => release(x) })
          return x
        }),
      ),
    drop: (kind, id) => dropNamed(nameOf(kind, id)),
    counts: () => {
      const kinds = [...all.values()].map((x) => x.kind)
      return Object.fromEntries(
        KINDS.map((k) => [k, kinds.filter((x) => x === k).length]),
      ) as Record<Kind, number>
    },
    dropAll: () =>
      [...all.keys()]
        .toReversed()
        .map(dropNamed)
        .reduce((first, r) => (E.isLeft(first) ? first : r), done),
  }
}
