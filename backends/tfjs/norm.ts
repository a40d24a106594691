/** RMSNorm over rows, and its gradients. */
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

/** 1/√(mean(x²) + ε) of each row, as a column. */
const rowScales = (n: Nodes, x: Value, eps: number): Value =>
  n.one('Rsqrt', [n.add(n.mean(n.square(x), [1], true), n.scalar(eps))])

export const rmsNorm: KernelOf<'rmsNorm'> = ({ n, attrs: { eps }, args: [x, w] }) => [
  n.mul(n.mul(x!, rowScales(n, x!, eps)), w!),
]

/** s·(ct∘w − x̂·mean(ct∘w∘x̂)), x̂ = s·x. */
export const rmsNormGrad: KernelOf<'rmsNormGrad'> = ({ n, attrs: { eps }, args: [x, w, ct] }) => {
  const s = rowScales(n, x!, eps)
  const [hat, weighted] = [n.mul(x!, s), n.mul(ct!, w!)]
  const mean = n.mean(n.mul(weighted, hat), [1], true)
  return [n.mul(s, n.sub(weighted, n.mul(hat, mean)))]
}

export const rmsNormWeightGrad: KernelOf<'rmsNormWeightGrad'> = ({
  n,
  attrs: { eps },
  args: [x, , ct],
}) => [n.sum(n.mul(ct!, n.mul(x!, rowScales(n, x!, eps))), [0])]
