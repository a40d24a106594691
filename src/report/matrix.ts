/** A confusion matrix as lines: a row for each label, a column for each prediction. */
import type { Style } from './style.ts'
import { table } from './table.ts'
import { count } from './units.ts'
import { visible } from './visible.ts'

/** Beyond this a terminal has no room; the file has it whole. */
const MOST = 12

export const matrixLines = (
  name: string,
  classes: ReadonlyArray<string>,
  matrix: ReadonlyArray<ReadonlyArray<number>>,
  s: Style,
): ReadonlyArray<string> => {
  if (classes.length > MOST)
    return [s.dim(`${name} has ${classes.length} labels: --json shows their confusion matrix`)]
  const shown = classes.map(visible)
  const columns = [
    { title: `${name} is`, align: 'left' as const },
    ...shown.map((title) => ({ title, align: 'right' as const })),
  ]
  const [head, ...rows] = table(
    columns,
    matrix.map((row, c) => [shown[c]!, ...row.map(count)]),
  )
  return [s.dim(`${head!}  (predicted)`), ...rows]
}
