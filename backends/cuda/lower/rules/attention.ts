/** Gradients of attention with the rotations behind them, and the choice of the kernel. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float } from '../../../../ir/type.ts'
import {
  attention as forward,
  attentionGrad as backward,
  attentionGradWorkspaceBytes,
  type AttentionDims,
} from '../../kernels/attention.ts'
import {
  aligned,
  attentionGradOn,
  attentionOn,
  engineOf,
  statBytes,
} from '../../kernels/attention-fast.ts'
import { rope as turnBack } from '../../kernels/rope.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { rangesKey } from '../derived.ts'
import { argOf, attr, outOf } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'

const kernelsFor = (c: Context): 75 | 80 | '90a' =>
  c.target.arch === 90 ? '90a' : c.target.arch >= 80 ? 80 : 75

const dimsOf = (c: Context, site: Site): AttentionDims => {
  const [rows, length] = c.type(argOf(site, 3)).shape as readonly [number, number]
  const heads = attr<number>(site, 'heads')
  const q = c.type(argOf(site, 0))
  return {
    rows,
    length,
    heads,
    kvHeads: attr(site, 'kvHeads'),
    dim: q.shape[1]! / heads,
    dtype: q.dtype as Float,
  }
}

export const attentionStep = (c: Context, site: Site): Step => {
  const [q, k, v, segments] = site.eqn.args as unknown as readonly [Id, Id, Id, Id]
  const [out, lse] = site.eqn.outs as unknown as readonly [Id, Id]
  const dims = dimsOf(c, site)
  const engine = engineOf(dims, kernelsFor(c))
  return {
    rule: 'attention',
    group: 'attention',
    covers: [site.index],
    reads: [q, k, v, segments, ...(engine === null ? [] : [rangesKey(segments)])],
    writes: site.eqn.outs.map((key, i) => ({ key, type: site.eqn.types[i]! })),
    over: [],
    scratch: [],
    works: (at) => {
      const o = {
        ...dims,
        q: at.rows(q),
        k: at.rows(k),
        v: at.rows(v),
        segments: at.offset(segments),
        out: at.rows(out),
        lse: at.offset(lse),
      }
      return engine !== null && aligned(o, o.q, o.k, o.v, o.out)
        ? attentionOn(engine, { ...o, ranges: at.offset(rangesKey(segments)) })
        : [forward(o)]
    },
  }
}

/** Rotations back of dq and dk, where they alone are read and turn back. */
const turnedBack = (c: Context, site: Site): readonly [Site, Site] | null => {
  const [dq, dk] = [soleReader(c, outOf(site, 0)), soleReader(c, outOf(site, 1))]
  return dq?.eqn.op === 'rope' &&
    dk?.eqn.op === 'rope' &&
    argOf(dq, 1) === argOf(dk, 1) &&
    attr(dq, 'inverse') &&
    attr(dk, 'inverse')
    ? [dq, dk]
    : null
}

export const attentionGradStep = (
  c: Context,
  site: Site,
  turned: readonly [Site, Site] | null = null,
): Step => {
  const [q, k, v, segments, out, lse, ct] = site.eqn.args as unknown as ReadonlyArray<Id> & {
    readonly length: 7
  }
  const dims = dimsOf(c, site)
  const engine = engineOf(dims, kernelsFor(c))
  const [dq, dk] = turned === null ? site.eqn.outs : turned.map((s) => outOf(s))
  const dv = outOf(site, 2)
  const cos = turned === null ? null : argOf(turned[0], 1)
  const sin = turned === null ? null : argOf(turned[0], 2)
  return {
    rule: turned === null ? 'attentionGrad' : 'attentionGrad+rope',
    group: 'attention',
    covers: [site.index, ...(turned ?? []).map((s) => s.index)],
    reads: [
      ...site.eqn.args,
      ...(engine === null ? [] : [rangesKey(segments!)]),
      ...(cos === null ? [] : [cos]),
      ...(sin === null ? [] : [sin]),
    ],
    writes: [dq!, dk!, dv].map((key, i) => ({ key, type: site.eqn.types[i]! })),
    over: [],
    scratch: [Math.max(attentionGradWorkspaceBytes(dims), statBytes(dims))],
    works: (at) => {
      const o = {
        ...dims,
        q: at.rows(q!),
        k: at.rows(k!),
        v: at.rows(v!),
        segments: at.offset(segments!),
        out: at.rows(out!),
        lse: at.offset(lse!),
        ct: at.rows(ct!),
        dq: at.rows(dq!),
        dk: at.rows(dk!),
        dv: at.rows(dv),
        workspace: at.scratch(0),
      }
      const turn =
        cos === null || sin === null ? null : { cos: at.offset(cos), sin: at.offset(sin) }
      if (engine !== null && aligned(o, o.q, o.k, o.v, o.out, o.ct, o.dq, o.dk, o.dv))
        return attentionGradOn(engine, {
          ...o,
          ranges: at.offset(rangesKey(segments!)),
          ...(turn === null ? {} : { turn }),
        })
      return [
        ...backward(o),
        ...(turn === null
          ? []
          : [
              turnBack({
                x: o.dq,
                out: o.dq,
                heads: dims.heads,
                also: { x: o.dk, out: o.dk, heads: dims.kvHeads },
                ...turn,
                rows: dims.rows * dims.length,
                dim: dims.dim,
                inverse: true,
                dtype: dims.dtype,
              }),
            ]),
      ]
    },
  }
}

export const attention: Rule = {
  name: 'attention',
  doc: 'attentionGrad, rope⁻¹(dq), rope⁻¹(dk) → gradients turned back where they are written',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      const site = { eqn, index }
      const turned = eqn.op === 'attentionGrad' ? turnedBack(c, site) : null
      return turned === null ? [] : [steps(attentionGradStep(c, site, turned))]
    }),
}
