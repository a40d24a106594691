/** Whether a head that config.json ties to the embedding is one with it in the files: transformers 5 asks them too. */
import * as O from 'fp-ts/lib/Option.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bytesAt, peeked, placeOf, withFile, type Place } from './peek.ts'

export const HEAD = 'lm_head.weight'
export const EMBEDDING = 'model.embed_tokens.weight'

const MIB = 2 ** 20

/** Compares piece by piece: a table may hold a gigabyte. */
const sameBytes = (a: Place, b: Place): boolean =>
  a.end - a.begin === b.end - b.begin &&
  withFile(a.file, (fa) =>
    withFile(b.file, (fb) => {
      for (let at = 0; at < a.end - a.begin; at += MIB) {
        const to = Math.min(at + MIB, a.end - a.begin)
        const [x, y] = [
          bytesAt(fa, a.begin + at, a.begin + to),
          bytesAt(fb, b.begin + at, b.begin + to),
        ]
        if (!x.equals(y)) return false
      }
      return true
    }),
  )

const differs = (folder: string): boolean =>
  pipe(
    O.Do,
    O.bind('head', () => placeOf(folder, HEAD)),
    O.bind('embedding', () => placeOf(folder, EMBEDDING)),
    O.exists(
      ({ head, embedding }) =>
        head.dtype !== embedding.dtype ||
        head.shape.join() !== embedding.shape.join() ||
        !sameBytes(head, embedding),
    ),
  )

/** The files hold a head other than the embedding, and both count. */
export const hasOwnHead = (folder: string): boolean => peeked(() => differs(folder), false)
