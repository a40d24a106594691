/** Frozen linear weights become NF4 and are decoded where they are used: W becomes dequantize(nf4 W). */
import * as E from 'fp-ts/lib/Either.js'
import type { Program, State } from '../ir/graph.ts'
import { isFloat, like, type Encoded } from '../ir/type.ts'
import { linearWeights } from './linear.ts'
import type { Pass } from './pass.ts'
import { rewrite } from './rewrite.ts'

export interface Quantize {
  /** Values per scale. */
  readonly block: number
  /** Quantize the scales too, to 8 bits in blocks of this many; null keeps them in f32. */
  readonly nested: number | null
  /** Weights that stay as they are: a base that is quantized already may hold some in 16 bits. */
  readonly except?: ReadonlyArray<string>
}

/** Embeddings, norms and the output head stay as they are. */
const quantizable = (p: Program, except: ReadonlyArray<string>): ReadonlyArray<State> =>
  linearWeights(p).filter(
    (s) => s.role === 'frozen' && isFloat(s.type.dtype) && !except.includes(s.name),
  )

const nameOf = ({ block, nested, except = [] }: Quantize): string => {
  const double = nested === null ? [] : [`double=${nested}`]
  const kept = except.length === 0 ? [] : [`except=${except.length}`]
  return `quantize(${['nf4', `block=${block}`, ...double, ...kept].join(', ')})`
}

export const quantize = (o: Quantize): Pass => ({
  name: nameOf(o),
  keeps: 'approx',
  run: (p) => {
    const dtype: Encoded = o.nested === null ? `nf4/${o.block}` : `nf4/${o.block}/${o.nested}`
    const chosen = new Map(quantizable(p, o.except ?? []).map((s) => [s.name, s.type.dtype]))
    const done = linearWeights(p).some((s) => s.type.dtype === dtype)
    if (chosen.size === 0 && done) return E.right(p)
    if (chosen.size === 0)
      return E.left({
        _tag: 'NoMatch',
        target: 'quantization',
        known: ['frozen linear weights only; add an adapter'],
      })
    const state = p.state.map((s): State => {
      const { recipe: r } = s
      if (chosen.has(s.name))
        return { ...s, type: like(s.type, dtype), recipe: { _tag: 'nf4', of: r } }
      // What is made of a weight is made of the decoded one.
      return r._tag === 'norms' && r.of._tag === 'load' && chosen.has(r.of.key)
        ? {
            ...s,
            recipe: { _tag: 'norms', of: { _tag: 'nf4', of: r.of }, type: like(r.type, dtype) },
          }
        : s
    })
    return rewrite(p, state, ({ eqn, args, b, state: read }) => {
      const to = args.map((_, i) => chosen.get(read(i)?.name ?? ''))
      return to.some((d) => d !== undefined)
        ? b.emit(
            eqn.op,
            eqn.attrs,
            ...args.map((a, i) => (to[i] === undefined ? a : b.alg.dequantize(to[i], a))),
          )
        : null
    })
  },
  promise: (p) => {
    const wide = quantizable(p, o.except ?? [])[0]
    return wide === undefined
      ? null
      : `no frozen linear weight is wider than 4 bits, but ${wide.name} is`
  },
})
