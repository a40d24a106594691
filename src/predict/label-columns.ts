/** What heads predict, as columns under Ludwig's names. */
import type { Target } from '../data/targets.ts'
import type { Logits } from '../train/label-task.ts'
import { predictedOf } from '../train/predicted.ts'
import type { Column } from './column.ts'

/** Of a head as Ludwig names them: the prediction, its probability, and that of every class. */
export const columnsOf = (t: Target, logits: Logits[number]): ReadonlyArray<Column> => {
  const all = logits.map((l) => predictedOf(t, l))
  const { name } = t.of
  if (t.kind === 'number')
    return [
      { name: `${name}_predictions`, kind: 'number', values: all.map((p) => Number(p.value)) },
    ]
  const shares = all.map((p) => p.probabilities!)
  const chosen = all.map((p, i) => shares[i]![t.classes.indexOf(String(p.value))]!)
  return [
    { name: `${name}_predictions`, kind: 'text', values: all.map((p) => String(p.value)) },
    { name: `${name}_probabilities`, kind: 'numbers', values: shares },
    { name: `${name}_probability`, kind: 'number', values: chosen },
    ...t.classes.map((c, k): Column => ({
      name: `${name}_probabilities_${c}`,
      kind: 'number',
      values: shares.map((p) => p[k]!),
    })),
  ]
}
