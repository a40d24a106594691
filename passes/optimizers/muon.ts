/** Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal by Newton–Schulz iterations, as Ludwig scales them. */
import type { Id } from '../../ir/graph.ts'
import { descended, zeros, type At, type Rule } from './rule.ts'

export interface Muon {
  readonly momentum: number
  readonly nesterov: boolean
}

const [A, B, C] = [3.4445, -4.775, 2.0315]
const ITERATIONS = 5

/** U·Vᵀ of U·S·Vᵀ, nearly: the polynomial a·x + b·x³ + c·x⁵ on singular values, by way of the smaller Gram matrix. */
const orthogonal = ({ b: { alg } }: At, update: Id): Id => {
  const [rows, columns] = alg.typeOf(update).shape as readonly [number, number]
  const wide = rows <= columns
  const norm = alg.shift(1e-7, alg.sqrt(alg.sumSquares(update)))
  let x = alg.scaleBy(update, alg.reciprocal(norm))
  for (let i = 0; i < ITERATIONS; i++) {
    const gram = wide ? alg.dot({ tb: true }, x, x) : alg.dot({ ta: true }, x, x)
    const by = alg.add(alg.scale(B, gram), alg.scale(C, alg.dot({}, gram, gram)))
    x = alg.add(alg.scale(A, x), wide ? alg.dot({}, by, x) : alg.dot({}, x, by))
  }
  return alg.scale(Math.sqrt(Math.max(rows, columns)), x)
}

export const muon = (o: Muon): Rule => ({
  title: `muon, momentum=${o.momentum}${o.nesterov ? ', nesterov' : ''}`,
  slots: zeros('muon.momentum'),
  step: (at) => {
    const { alg } = at.b
    const buffer = alg.add(alg.scale(o.momentum, at.slots[0]!), at.g)
    const by = o.nesterov ? alg.add(at.g, alg.scale(o.momentum, buffer)) : buffer
    const matrix = alg.typeOf(by).shape.length === 2
    return { p: descended(at, at.p, matrix ? orthogonal(at, by) : by), slots: [buffer] }
  },
})
