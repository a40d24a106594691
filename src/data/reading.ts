/** What reading decided: words that count as nothing, keys given twice, columns passed over, answers the tokenizer changes. */
import type { Remark, Table } from './cell.ts'
import type { Dataset } from './dataset.ts'
import { expressed } from './expressed.ts'
import type { ListRows, RowList } from './row-list.ts'
import type { Sample } from './samples.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

export interface MissingWords {
  readonly column: string
  /** Each once, in the order of the file. */
  readonly words: ReadonlyArray<string>
  readonly rows: RowList
}

export interface RepeatedKeys {
  readonly column: string
  readonly rows: RowList
}

export interface IdleColumn {
  readonly column: string
  readonly why: string
}

export interface Altered {
  readonly rows: RowList
  /** The first such answer, around the first difference, as written and as it comes back. */
  readonly written: string
  readonly back: string
}

/** The remarks of a kind on rows that are used, by column. */
const byColumn = (
  table: Table,
  used: ReadonlyArray<number>,
  kind: Remark['kind'],
): ReadonlyArray<readonly [string, ReadonlyArray<Remark>]> => {
  const rows = new Set(used)
  const those = table.remarks.filter((r) => r.kind === kind && rows.has(r.row))
  return table.columns
    .map((column) => [column, those.filter((r) => r.column === column)] as const)
    .filter(([, all]) => all.length > 0)
}

export const missingWordsOf = (
  table: Table,
  used: ReadonlyArray<number>,
  list: ListRows,
): ReadonlyArray<MissingWords> =>
  byColumn(table, used, 'missing').map(([column, all]) => ({
    column,
    words: [...new Set(all.map(({ text }) => text))],
    rows: list(all.map(({ row }) => row)),
  }))

export const repeatedKeysOf = (
  table: Table,
  used: ReadonlyArray<number>,
  list: ListRows,
): ReadonlyArray<RepeatedKeys> =>
  byColumn(table, used, 'repeated').map(([column, all]) => ({
    column,
    rows: list(all.map(({ row }) => row)),
  }))

/** Names by which data sets steer a training that reads them. */
const steering = new Set(
  (
    'split weight weights sample_weight loss_weight instruction input context system system_prompt prompt question ' +
    'query task template history messages conversation conversations tools chosen rejected label output response ' +
    'answer completion target'
  ).split(' '),
)

/** Columns that no feature, template or split uses although their name says that they matter. */
export const idleColumns = (
  table: Table,
  uses: ReadonlySet<string>,
  inputColumn: string,
): ReadonlyArray<IdleColumn> =>
  table.columns
    .filter((column) => !uses.has(column))
    .flatMap((column) => {
      const name = column.toLowerCase()
      if (name === 'split')
        return {
          column,
          why: 'the rows are split at random; to split by it, write preprocessing.split: {type: fixed}',
        }
      if (column === inputColumn)
        return {
          column,
          why: 'the input feature has its name, and prompt.template does not show it',
        }
      return steering.has(name) ? { column, why: 'no feature, template or split names it' } : []
    })

const around = (text: string, at: number): string => {
  const start = Math.max(0, at - 10)
  return text.slice(start, at + 20)
}

const firstDifference = (a: string, b: string): number => {
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  return at
}

/** Answers that differ from what they become in tokens, white space around them apart. */
export const alteredOf = (
  dataset: Dataset,
  tokenizer: Tokenizer,
  samples: ReadonlyArray<Sample>,
  list: ListRows,
): Altered | undefined => {
  const cut = new Set(dataset.notes.filter(({ tokens }) => tokens > 0).map(({ row }) => row))
  const changed = samples.flatMap(({ row, target }) => {
    const written = dataset.texts[row]?.target ?? ''
    const back = cut.has(row)
      ? expressed(tokenizer, written)
      : tokenizer.decode(target, { skipSpecial: true })
    return written.trim() === back.trim()
      ? []
      : [{ row, written: written.trim(), back: back.trim() }]
  })
  const first = changed.toSorted((a, b) => a.row - b.row)[0]
  if (first === undefined) return undefined
  const at = firstDifference(first.written, first.back)
  return {
    rows: list(changed.map(({ row }) => row)),
    written: around(first.written, at),
    back: around(first.back, at),
  }
}
