/** The cross-entropy over few classes, alone. */
import * as classes from '../kernels/classes.ts'
import { alone, shapeOf, type Lowering } from './alone.ts'
import type { Context, Site } from './context.ts'
import { argOf } from './pattern.ts'

const shape = (c: Context, s: Site) => {
  const [logits, targets] = [shapeOf(c.type(argOf(s, 0))), shapeOf(c.type(argOf(s, 1)))]
  return { ...logits, first: targets.width - logits.width }
}

export const classCrossEntropy: Lowering = (c, s) =>
  alone(c, s, (h) => [
    classes.classCrossEntropy({
      ...shape(c, s),
      logits: h.arg(0),
      targets: h.arg(1),
      out: h.outAt(),
    }),
  ])

export const classCrossEntropyGrad: Lowering = (c, s) =>
  alone(c, s, (h) => [
    classes.classCrossEntropyGrad({
      ...shape(c, s),
      logits: h.arg(0),
      targets: h.arg(1),
      ct: h.argAt(2),
      out: h.out(),
    }),
  ])
