/** Cross-entropy over few classes. */
import type { Kernel } from './kernels.ts'
import type { Value } from './model.ts'
import { int, type Nodes, type Site } from './site.ts'

interface Laid {
  /** Of all classes: the first may have the logit 0. */
  readonly logits: Value
  readonly targets: Value
  /** Classes without a logit of their own. */
  readonly first: number
  readonly classes: number
}

const laid = ({ n, args, types }: Site<object>): Laid => {
  const [l, t] = types.map((x) => x.shape)
  const [rows, classes, first] = [t![0]!, t![1]!, t![1]! - l![1]!]
  const logits = first === 0 ? args[0]! : n.concat(1, n.filled([rows, first], 0), args[0]!)
  return { logits, targets: args[1]!, first, classes }
}

const logSoftmax = (n: Nodes, x: Value): Value => n.one('LogSoftmax', [x], { axis: int(1) })

export const classCrossEntropy: Kernel<'classCrossEntropy'> = (s) => {
  const { n } = s
  const { logits, targets } = laid(s)
  const terms = n.mul(targets, logSoftmax(n, logits))
  return [n.reshape(n.mul(n.sumAxis(terms, 1), n.scalar(-1)), s.outs[0]!.shape[0]!)]
}

export const classCrossEntropyGrad: Kernel<'classCrossEntropyGrad'> = (s) => {
  const { n } = s
  const { logits, targets, first, classes } = laid(s)
  const share = n.mul(n.one('Exp', [logSoftmax(n, logits)]), n.sumAxis(targets, 1))
  const slope = n.mul(n.sub(share, targets), n.reshape(s.args[2]!, s.types[2]!.shape[0]!, 1))
  return [first === 0 ? slope : n.slice(slope, 1, first, classes)]
}
