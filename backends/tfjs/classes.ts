/** Cross-entropy over few classes. */
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf, Site } from './site.ts'

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
  const logits = first === 0 ? args[0]! : n.concat(1, n.fill([rows, first], n.scalar(0)), args[0]!)
  return { logits, targets: args[1]!, first, classes }
}

const logSoftmax = (n: Nodes, x: Value): Value => n.one('LogSoftmax', [x])

export const classCrossEntropy: KernelOf<'classCrossEntropy'> = (s) => {
  const { n } = s
  const { logits, targets } = laid(s)
  return [n.neg(n.sum(n.mul(targets, logSoftmax(n, logits)), [1]))]
}

export const classCrossEntropyGrad: KernelOf<'classCrossEntropyGrad'> = (s) => {
  const { n } = s
  const { logits, targets, first, classes } = laid(s)
  const share = n.mul(n.exp(logSoftmax(n, logits)), n.sum(targets, [1], true))
  const slope = n.mul(n.sub(share, targets), n.reshape(s.args[2]!, s.types[2]!.shape[0]!, 1))
  return [first === 0 ? slope : n.slice(slope, 1, first, classes)]
}
