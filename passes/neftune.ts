/** NEFTune (Jain et al. 2023): in training, token embeddings get uniform noise in ±alpha / √(tokens of the sample · width). */
import { scalar, tensor } from '../ir/type.ts'
import { unsupported } from '../ir/reason.ts'
import * as E from 'fp-ts/lib/Either.js'
import type { Pass } from './pass.ts'
import { copy, rewrite } from './rewrite.ts'

/** Apart from those of dropout, which count adapters from 0. */
const SALT = -1

export const neftune = (alpha: number): Pass => ({
  name: `neftune(alpha=${alpha})`,
  keeps: 'meaning',
  run: (p) => {
    const embeds = p.fns.some(
      (f) => f.minimizes !== undefined && f.eqns.some((e) => e.op === 'embed'),
    )
    if (!embeds) return E.left(unsupported('neftune finds no embedding in what is trained'))
    return rewrite(p, p.state, ({ fn, eqn, args, b }) => {
      if (eqn.op !== 'embed' || fn.minimizes === undefined) return null
      const embedded = copy(b, eqn, args)[0]!
      const [tokens, width] = b.typeOf(embedded).shape as readonly [number, number]
      const [seed, keys] = [b.input('seed', scalar('i32')), b.input('keys', tensor('i32', tokens))]
      const lengths = b.input('lengths', tensor('f32', tokens))
      const reach = b.alg.scale(alpha / Math.sqrt(width), b.alg.power(-0.5, lengths))
      return [b.alg.noise(SALT, embedded, seed, keys, reach)]
    })
  },
})
