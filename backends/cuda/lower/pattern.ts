/** Shapes of equations that several rules look for. */
import type { Id, State } from '../../../ir/graph.ts'
import { isEncoded, type Encoded, type Float } from '../../../ir/type.ts'
import { soleReader, type Context, type Site } from './context.ts'

export const attr = <T>(site: Site, name: string): T => site.eqn.attrs[name] as T
export const argOf = (site: Site, i: number): Id => site.eqn.args[i]!
export const outOf = (site: Site, i = 0): Id => site.eqn.outs[i]!

/** `dot` with these transpositions. */
export const isDot = (s: Site | undefined, ta: boolean, tb: boolean): s is Site =>
  s?.eqn.op === 'dot' && attr(s, 'ta') === ta && attr(s, 'tb') === tb

/** A frozen weight that is decoded where it is used. */
export interface Decoded {
  readonly site: Site
  /** Local id of the encoded state. */
  readonly id: Id
  readonly state: State
  readonly dtype: Encoded
  readonly to: Float
}

export const decodedWeight = (c: Context, id: Id): Decoded | undefined => {
  const site = c.made(id, 'dequantize')
  const state = site === undefined ? undefined : c.state(argOf(site, 0))
  return site !== undefined && state !== undefined && isEncoded(state.type.dtype)
    ? {
        site,
        id: argOf(site, 0),
        state,
        dtype: state.type.dtype,
        to: attr<Float>(site, 'to'),
      }
    : undefined
}

/** A trained f32 matrix read in the compute dtype: the state itself, or its cast. */
export const master = (
  c: Context,
  id: Id,
): { readonly id: Id; readonly site?: Site } | undefined => {
  if (c.state(id)?.type.dtype === 'f32') return { id }
  const site = c.made(id, 'cast')
  return site !== undefined && c.state(argOf(site, 0))?.type.dtype === 'f32'
    ? { id: argOf(site, 0), site }
    : undefined
}

export interface Mask {
  readonly seed: Id
  /** A number for each row, so that the mask depends on the sample and not on the packing. */
  readonly keys: Id
  readonly rate: number
  readonly salt: number
}

export const maskReads = (m: Mask | null): ReadonlyArray<Id> => (m === null ? [] : [m.seed, m.keys])

/** `x` as it is read through an adapter's dropout: the mask is a hash, so nothing need be kept. */
export interface Dropped {
  readonly x: Id
  readonly mask: Mask | null
  readonly sites: ReadonlyArray<number>
}

export const dropped = (c: Context, id: Id): Dropped => {
  const site = c.made(id, 'dropout')
  return site === undefined
    ? { x: id, mask: null, sites: [] }
    : {
        x: argOf(site, 0),
        mask: {
          seed: argOf(site, 1),
          keys: argOf(site, 2),
          rate: attr(site, 'rate'),
          salt: attr(site, 'salt'),
        },
        sites: [site.index],
      }
}

/** What `scale` multiplies by and of what; 1 and the value itself where there is no `scale`. */
export const scaled = (
  c: Context,
  id: Id,
): { readonly of: Id; readonly by: number; readonly sites: ReadonlyArray<number> } => {
  const site = c.made(id, 'scale')
  return site === undefined
    ? { of: id, by: 1, sites: [] }
    : { of: argOf(site, 0), by: attr(site, 'by'), sites: [site.index] }
}

/** The other operand of a sum, if the value is one of the two. */
export const addend = (sum: Site, id: Id): Id | undefined =>
  sum.eqn.op !== 'add' || argOf(sum, 0) === argOf(sum, 1)
    ? undefined
    : argOf(sum, 0) === id
      ? argOf(sum, 1)
      : argOf(sum, 1) === id
        ? argOf(sum, 0)
        : undefined

/** The sum that alone reads a value, in the same stage. */
export const soleSum = (c: Context, site: Site): Site | undefined => {
  const by = soleReader(c, outOf(site))
  return by?.eqn.op === 'add' && by.eqn.place.stage === site.eqn.place.stage ? by : undefined
}
