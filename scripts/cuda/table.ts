/** What a check prints and how it ends. */
import { table, type Column } from '../../src/report/table.ts'

export interface Outcome {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
  readonly notes?: ReadonlyArray<string>
  /** Why the check fails; none: it passes. */
  readonly faults: ReadonlyArray<string>
}

export const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)

export const show = (name: string, o: Outcome): void => {
  const columns = o.columns.map((title, i): Column => ({
    title,
    align: i === 0 ? 'left' : 'right',
  }))
  for (const line of table(columns, o.rows)) console.log(line)
  for (const line of o.notes ?? []) console.log(line)
  for (const line of o.faults) console.log(`FAULT ${line}`)
  console.log(`${name}: ${o.faults.length === 0 ? 'passed' : `${o.faults.length} faults`}`)
}
