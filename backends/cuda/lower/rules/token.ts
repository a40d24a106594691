/** One more token of each sequence: rotations, the two writes into the caches, and attention over them, in one launch. */
import type { Id } from '../../../../ir/graph.ts'
import { bytes, type Float } from '../../../../ir/type.ts'
import {
  token as launches,
  tokenFits,
  tokenParts,
  tokenWorkspaceBytes,
  type TokenShape,
} from '../../kernels/token.ts'
import { copy } from '../alone.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, outOf } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'

interface Token {
  readonly attention: Site
  readonly q: Site
  readonly k: Site
  /** Writes of k and v. */
  readonly writes: readonly [Site, Site]
  readonly shape: TokenShape
}

const onlyRead = (c: Context, id: Id, by: Site): boolean =>
  c.readers(id).length === 1 && c.readers(id)[0]!.index === by.index

const tokenOf = (c: Context, attention: Site): Token | null => {
  const positions = argOf(attention, 3)
  const q = c.made(argOf(attention, 0), 'rope')
  const [wk, wv] = [1, 2].map((i) => c.made(argOf(attention, i), 'cacheWrite'))
  if (q === undefined || wk === undefined || wv === undefined) return null
  const k = c.made(argOf(wk, 1), 'rope')
  if (k === undefined) return null
  const [batch, length] = c.type(positions).shape as readonly [number, number]
  const heads = attr<number>(attention, 'heads')
  const shape = {
    batch,
    capacity: c.type(outOf(wk)).shape[1]!,
    heads,
    kvHeads: attr<number>(attention, 'kvHeads'),
    dim: c.type(outOf(q)).shape[1]! / heads,
  }
  const alike =
    [wk, wv].every((w) => argOf(w, 2) === positions && onlyRead(c, outOf(w), attention)) &&
    argOf(q, 1) === argOf(k, 1) &&
    argOf(q, 2) === argOf(k, 2) &&
    !attr<boolean>(q, 'inverse') &&
    !attr<boolean>(k, 'inverse')
  const own = [q, k].every((s) => soleReader(c, outOf(s)) !== undefined)
  const fits = length === 1 && 2 * c.type(argOf(q, 1)).shape[1]! === shape.dim && tokenFits(shape)
  return alike && own && fits ? { attention, q, k, writes: [wk, wv], shape } : null
}

const stepOf = (c: Context, { attention, q, k, writes, shape }: Token): Step => {
  const [wk, wv] = writes
  const [cos, sin, positions, out] = [
    argOf(q, 1),
    argOf(q, 2),
    argOf(attention, 3),
    outOf(attention),
  ]
  const parts = tokenParts(shape, c.target.sms)
  const type = c.type(out)
  return {
    rule: 'token',
    group: 'attention',
    covers: [attention, q, k, wk, wv].map((s) => s.index),
    reads: [
      argOf(q, 0),
      argOf(k, 0),
      argOf(wv, 1),
      cos,
      sin,
      positions,
      ...writes.map((w) => argOf(w, 0)),
    ],
    writes: [{ key: out, type }, ...writes.map((w) => ({ key: outOf(w), type: c.type(outOf(w)) }))],
    over: writes.map((w) => [outOf(w), argOf(w, 0)] as const),
    scratch: [tokenWorkspaceBytes(shape, parts)],
    works: (at) => [
      ...writes.flatMap((w) => {
        const [from, to] = [at.offset(argOf(w, 0)), at.offset(outOf(w))]
        return from === to ? [] : [copy(from, to, bytes(c.type(outOf(w))))]
      }),
      ...launches({
        ...shape,
        dtype: type.dtype as Float,
        q: at.rows(argOf(q, 0)),
        k: at.rows(argOf(k, 0)),
        v: at.rows(argOf(wv, 1)),
        cos: at.offset(cos),
        sin: at.offset(sin),
        keys: at.offset(outOf(wk)),
        values: at.offset(outOf(wv)),
        positions: at.offset(positions),
        out: at.rows(out),
        parts,
        workspace: at.scratch(0),
      }),
    ],
  }
}

export const token: Rule = {
  name: 'token',
  doc: 'rope(q), rope(k), cacheWrite(k), cacheWrite(v), cachedAttention of one token a sequence → one launch over the caches where they lie, and one that joins its parts where a cache is long',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      const found = eqn.op === 'cachedAttention' ? tokenOf(c, { eqn, index }) : null
      return found === null ? [] : [steps(stepOf(c, found))]
    }),
}
