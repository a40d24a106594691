/** RMSNorm alone, and its gradients. */
import * as norm from '../kernels/norm.ts'
import { alone, shapeOf, type Lowering } from './alone.ts'
import { argOf, attr } from './pattern.ts'

export const rmsNorm: Lowering = (c, s) =>
  alone(c, s, (h) => [
    norm.rmsNorm({
      ...h.shape,
      dtype: h.dtype,
      x: h.arg(0),
      w: h.argAt(1),
      out: h.out(),
      eps: attr(s, 'eps'),
    }),
  ])

export const rmsNormGrad: Lowering = (c, s) =>
  alone(c, s, (h) => [
    norm.rmsNormGrad({
      ...h.shape,
      dtype: h.dtype,
      x: h.arg(0),
      w: h.argAt(1),
      ct: h.arg(2),
      out: h.out(),
      eps: attr(s, 'eps'),
    }),
  ])

export const rmsNormWeightGrad: Lowering = (c, s) => {
  const shape = shapeOf(c.type(argOf(s, 0)))
  return alone(
    c,
    s,
    (h) =>
      norm.rmsNormWeightGrad({
        ...shape,
        dtype: h.dtype,
        x: h.arg(0),
        ct: h.arg(2),
        out: h.outAt(),
        workspace: h.scratch(0),
        eps: attr(s, 'eps'),
      }),
    [norm.rmsNormWeightGradWorkspaceBytes(shape.rows)],
  )
}
