/** What an adapter takes out of a weight at the start: W becomes W − s·B·A, and W + s·B·A is what it was. */
import { length, orthonormal, standardNormal } from './initial.ts'

/** A row-major matrix [rows, columns]. */
interface Matrix {
  readonly data: Float32Array
  readonly rows: number
  readonly columns: number
}

export interface Factors {
  /** [r, columns] and [rows, r], row-major. */
  readonly a: Float32Array
  readonly b: Float32Array
}

type Vectors = ReadonlyArray<Float64Array>

/** W·x for each x. */
const times = ({ data, rows, columns }: Matrix, xs: Vectors): Vectors =>
  xs.map((x) => {
    const y = new Float64Array(rows)
    for (let i = 0; i < rows; i++) {
      let s = 0
      for (let k = 0, at = i * columns; k < columns; k++) s += data[at + k]! * x[k]!
      y[i] = s
    }
    return y
  })

/** Wᵀ·y for each y. */
const transposedTimes = ({ data, rows, columns }: Matrix, ys: Vectors): Vectors =>
  ys.map((y) => {
    const x = new Float64Array(columns)
    for (let i = 0; i < rows; i++) {
      const f = y[i]!
      for (let k = 0, at = i * columns; k < columns; k++) x[k]! += f * data[at + k]!
    }
    return x
  })

const inner = (x: Float64Array, y: Float64Array): number => x.reduce((s, v, i) => s + v * y[i]!, 0)

/** Eigenvectors (rows) of a symmetric matrix, largest eigenvalue first (Jacobi's rotations). */
const eigenvectors = (symmetric: Vectors): Vectors => {
  const n = symmetric.length
  const s = symmetric.map((row) => row.slice())
  const v = s.map((_, i) => Float64Array.from({ length: n }, (__, j) => Number(i === j)))
  const scale = Math.max(...s.map((row, i) => Math.abs(row[i]!)))
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const at = s[p]![q]!
        off = Math.max(off, Math.abs(at))
        if (at === 0) continue
        const theta = (s[q]![q]! - s[p]![p]!) / (2 * at)
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1))
        const c = 1 / Math.hypot(t, 1)
        const rotate = (x: Float64Array, y: Float64Array): void =>
          x.forEach((a, k) => {
            const b = y[k]!
            x[k] = c * a - t * c * b
            y[k] = t * c * a + c * b
          })
        rotate(s[p]!, s[q]!)
        for (const row of s) {
          const [a, b] = [row[p]!, row[q]!]
          row[p] = c * a - t * c * b
          row[q] = t * c * a + c * b
        }
        rotate(v[p]!, v[q]!)
      }
    if (off <= 1e-15 * scale) break
  }
  return v
    .map((row, i) => ({ row, value: s[i]![i]! }))
    .toSorted((a, b) => b.value - a.value)
    .map((e) => e.row)
}

const combined = (weights: Float64Array, of: Vectors): Float64Array => {
  const sum = new Float64Array(of[0]!.length)
  of.forEach((x, i) => x.forEach((v, k) => (sum[k]! += weights[i]! * v)))
  return sum
}

/** Iterations on a subspace, at most; it has settled long before where singular values fall. */
const MOST = 32
const SETTLED = 1e-9

/** The largest singular values with their vectors, by iteration on a random subspace of twice the rank (Halko et al. 2011). */
const singular = (w: Matrix, r: number, name: string) => {
  const least = Math.min(w.rows, w.columns)
  const width = Math.min(least, Math.max(2 * r, r + 8))
  const z = standardNormal(`${name} subspace`, 0)
  let left: Vectors = []
  let right: Vectors = Array.from({ length: width }, (_, i) =>
    Float64Array.from({ length: w.columns }, (__, k) => z(i * w.columns + k)),
  )
  for (let [i, before] = [0, 0]; i < MOST; i++) {
    orthonormal(right)
    left = times(w, right)
    orthonormal(left)
    right = transposedTimes(w, left)
    const total = right.reduce((s, x) => s + inner(x, x), 0)
    if (Math.abs(total - before) <= SETTLED * total && i > 1) break
    before = total
  }
  // Wᵀ·Q = R: its Gram matrix has the singular values' squares for eigenvalues.
  const turns = eigenvectors(right.map((x) => Float64Array.from(right, (y) => inner(x, y))))
  return turns.slice(0, r).map((turn) => {
    const along = combined(turn, right)
    const value = length(along)
    return { value, left: combined(turn, left), right: along.map((x) => x / (value || 1)) }
  })
}

const flat = (rows: Vectors): Float32Array => {
  const width = rows[0]!.length
  return Float32Array.from(
    { length: rows.length * width },
    (_, i) => rows[Math.floor(i / width)]![i % width]!,
  )
}
const turned = (rows: Vectors): Float32Array => {
  const r = rows.length
  return Float32Array.from(
    { length: r * rows[0]!.length },
    (_, i) => rows[i % r]![Math.floor(i / r)]!,
  )
}

/** PiSSA (Meng et al. 2024): A and B are the largest r singular triplets, each with the root of its value over s. */
const pissa = (w: Matrix, r: number, scale: number, name: string): Factors => {
  const triplets = singular(w, r, name)
  const root = (x: Float64Array, value: number) => x.map((v) => v * Math.sqrt(value / scale))
  return {
    a: flat(triplets.map((t) => root(t.right, t.value))),
    b: turned(triplets.map((t) => root(t.left, t.value))),
  }
}

/** OLoRA (Büyükakyüz 2024): of W = Q·R, B is the first r columns of Q and A the first r rows of R. */
const olora = (w: Matrix, r: number): Factors => {
  const q = Array.from({ length: r }, (_, k) =>
    Float64Array.from({ length: w.rows }, (__, i) => w.data[i * w.columns + k]!),
  )
  orthonormal(q)
  return { a: flat(transposedTimes(w, q)), b: turned(q) }
}

export type Split = 'pissa' | 'olora'

/** A and B for a weight [rows, columns]. */
export const factorsOf = (
  by: Split,
  data: Float32Array,
  [rows, columns]: readonly [number, number],
  r: number,
  scale: number,
  name: string,
): Factors => {
  const w = { data, rows, columns }
  return by === 'pissa' ? pissa(w, r, scale, name) : olora(w, r)
}

/** W + s·B·A for W [out, in], A [r, in], B [out, r], all row-major; sums in double precision. */
export const added = (
  w: Float32Array,
  { a, b }: Factors,
  r: number,
  scale: number,
): Float32Array => {
  const into = a.length / r
  const row = new Float64Array(into)
  return w.map((x, i) => {
    const [o, c] = [Math.floor(i / into), i % into]
    if (c === 0) {
      row.fill(0)
      for (let k = 0; k < r; k++)
        for (let j = 0; j < into; j++) row[j]! += b[o * r + k]! * a[k * into + j]!
    }
    return x + scale * row[c]!
  })
}
