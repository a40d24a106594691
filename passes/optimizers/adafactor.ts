/** Adafactor (Shazeer and Stern 2018), as transformers has it: second moments of a matrix as those of its rows and columns. */
import type { Id } from '../../ir/graph.ts'
import { scalar, size, tensor, type TensorType } from '../../ir/type.ts'
import { type At, type Rule, type Slot } from './rule.ts'

export interface Adafactor {
  /** Steps are relative to the root mean square of the tensor. */
  readonly scaled: boolean
  /** Steps of min(0.01, 1/√t), whatever the learning rate; a schedule still shapes them. */
  readonly relative: boolean
  /** Relative steps begin at 10⁻⁶ and rise by as much. */
  readonly warmup: boolean
  /** The learning rate that a schedule is relative to. */
  readonly rate: number
}

const [SMALL, LEAST_SCALE, DECAY] = [1e-30, 1e-3, -0.8]

const slots = (type: TensorType): ReadonlyArray<Slot> => {
  const [rows, columns] = type.shape
  const zero = (kind: string, ...shape: ReadonlyArray<number>): Slot => ({
    kind: `adafactor.${kind}`,
    type: tensor('f32', ...shape),
    start: 0,
  })
  return type.shape.length === 2
    ? [zero('rows', rows!, 1), zero('columns', 1, columns!)]
    : [zero('squares', ...type.shape)]
}

const rms = ({ b: { alg } }: At, x: Id): Id =>
  alg.sqrt(alg.scale(1 / size(alg.typeOf(x)), alg.sumSquares(x)))

const atLeast = ({ b: { alg } }: At, least: number, x: Id): Id =>
  alg.maximum(alg.fill(least, scalar('f32')), x)

/** x·β + y·(1 − β) with β = 1 − t^−0.8. */
const moved = ({ b: { alg }, t }: At, x: Id, y: Id): Id => {
  const rest = alg.power(DECAY, t)
  return alg.add(alg.sub(x, alg.scaleBy(x, rest)), alg.scaleBy(y, rest))
}

interface Moments {
  /** One over the root of the second moment. */
  readonly factor: Id
  readonly slots: ReadonlyArray<Id>
}

const moments = (at: At): Moments => {
  const { alg } = at.b
  const squares = alg.shift(SMALL, alg.mul(at.g, at.g))
  const [rows, columns] = alg.typeOf(at.g).shape
  if (alg.typeOf(at.g).shape.length !== 2) {
    const next = moved(at, at.slots[0]!, squares)
    return { factor: alg.power(-0.5, next), slots: [next] }
  }
  const ones = (n: number) => alg.fill(1, tensor('f32', n, 1))
  const row = moved(at, at.slots[0]!, alg.scale(1 / columns!, alg.dot({}, squares, ones(columns!))))
  const column = moved(
    at,
    at.slots[1]!,
    alg.scale(1 / rows!, alg.dot({ ta: true }, ones(rows!), squares)),
  )
  const mean = alg.scale(1 / rows!, alg.sum(row))
  const down = alg.power(-0.5, alg.scaleBy(row, alg.reciprocal(mean)))
  return { factor: alg.dot({}, down, alg.power(-0.5, column)), slots: [row, column] }
}

const rateOf = (at: At, o: Adafactor): Id => {
  const { alg } = at.b
  const minus = (x: Id): Id => alg.scale(-1, x)
  const most = o.warmup ? alg.scale(-1e-6, at.t) : alg.fill(-1e-2, scalar('f32'))
  const own = minus(alg.maximum(most, minus(alg.power(-0.5, at.t))))
  const base = o.relative ? alg.mul(own, alg.scale(1 / o.rate, at.lr)) : at.lr
  return o.scaled ? alg.mul(base, atLeast(at, LEAST_SCALE, rms(at, at.p))) : base
}

export const adafactor = (o: Adafactor): Rule => ({
  title: `adafactor${o.scaled ? ', scaled' : ''}${o.relative ? ', relative steps' : ''}${o.warmup ? ', warm-up' : ''}`,
  slots,
  step: (at) => {
    const { alg } = at.b
    const m = moments(at)
    const update = alg.mul(m.factor, at.g)
    const clipped = alg.scaleBy(update, alg.reciprocal(atLeast(at, 1, rms(at, update))))
    return { p: alg.sub(at.p, alg.scaleBy(clipped, rateOf(at, o))), slots: m.slots }
  },
})
