/** Predictions as named columns, whatever file they go into. */

/** Values of one kind, a row each. */
export type Column = { readonly name: string } & (
  | { readonly kind: 'text'; readonly values: ReadonlyArray<string> }
  | { readonly kind: 'number'; readonly values: ReadonlyArray<number> }
  | { readonly kind: 'texts'; readonly values: ReadonlyArray<ReadonlyArray<string>> }
  | { readonly kind: 'numbers'; readonly values: ReadonlyArray<ReadonlyArray<number>> }
)

export type CellValue = Column['values'][number]

export const rowsOf = (columns: ReadonlyArray<Column>): number => columns[0]?.values.length ?? 0

/** A row by the names of its columns. */
export const rowAt = (
  columns: ReadonlyArray<Column>,
  row: number,
): Readonly<Record<string, CellValue>> =>
  Object.fromEntries(columns.map((c) => [c.name, c.values[row]!]))
