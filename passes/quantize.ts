/**
 * Frozen linear weights are encoded. To 4 bits: decoded where they are used, W becomes dequantize(nf4 W).
 * To 8 bits (LLM.int8(), Dettmers et al. 2022): x·Wᵀ becomes int8Dot(x, int8 W), and other uses decode.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { Program, State } from '../ir/graph.ts'
import { isFloat, like, type Encoded } from '../ir/type.ts'
import { linearWeights } from './linear.ts'
import type { Pass } from './pass.ts'
import { rewrite } from './rewrite.ts'

export interface FourBits {
  /** Values per scale. */
  readonly block: number
  /** Quantize the scales too, to 8 bits in blocks of this many; null keeps them in f32. */
  readonly nested: number | null
  /** Weights that stay as they are: a base that is quantized already may hold some in 16 bits. */
  readonly except?: ReadonlyArray<string>
}

export interface EightBits {
  /** Columns of x that hold such a magnitude are not rounded; 0: all are. */
  readonly threshold: number
  readonly except?: ReadonlyArray<string>
}

export type Quantize = FourBits | EightBits

export const inEightBits = (o: Quantize): o is EightBits => 'threshold' in o

const dtypeOf = (o: Quantize): Encoded =>
  inEightBits(o) ? 'int8' : o.nested === null ? `nf4/${o.block}` : `nf4/${o.block}/${o.nested}`

/** Embeddings, norms and the output head stay as they are. */
const quantizable = (p: Program, except: ReadonlyArray<string>): ReadonlyArray<State> =>
  linearWeights(p).filter(
    (s) => s.role === 'frozen' && isFloat(s.type.dtype) && !except.includes(s.name),
  )

const settings = (o: Quantize): ReadonlyArray<string> =>
  inEightBits(o)
    ? ['int8', `threshold=${o.threshold}`]
    : ['nf4', `block=${o.block}`, ...(o.nested === null ? [] : [`double=${o.nested}`])]

const nameOf = (o: Quantize): string => {
  const kept = (o.except ?? []).length === 0 ? [] : [`except=${o.except!.length}`]
  return `quantize(${[...settings(o), ...kept].join(', ')})`
}

export const quantize = (o: Quantize): Pass => ({
  name: nameOf(o),
  keeps: 'approx',
  run: (p) => {
    const dtype = dtypeOf(o)
    const encoder = inEightBits(o) ? 'int8' : 'nf4'
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
        return { ...s, type: like(s.type, dtype), recipe: { _tag: encoder, of: r } }
      // What is made of a weight is made of the decoded one.
      return r._tag === 'norms' && r.of._tag === 'load' && chosen.has(r.of.key)
        ? {
            ...s,
            recipe: { _tag: 'norms', of: { _tag: encoder, of: r.of }, type: like(r.type, dtype) },
          }
        : s
    })
    return rewrite(p, state, ({ eqn, args, b, state: read }) => {
      const to = args.map((_, i) => chosen.get(read(i)?.name ?? ''))
      if (to.every((d) => d === undefined)) return null
      return inEightBits(o) && eqn.op === 'dot'
        ? [b.alg.int8Dot({ threshold: o.threshold }, args[0]!, args[1]!)]
        : b.emit(
            eqn.op,
            eqn.attrs,
            ...args.map((a, i) => (to[i] === undefined ? a : b.alg.dequantize(to[i], a))),
          )
    })
  },
  promise: (p) => {
    const wide = quantizable(p, o.except ?? [])[0]
    return wide === undefined ? null : `no frozen linear weight is left wide, but ${wide.name} is`
  },
})
