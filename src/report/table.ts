/** Rows of text as aligned columns. */

export interface Column {
  readonly title: string
  readonly align: 'left' | 'right'
}

const pad = (text: string, width: number, align: Column['align']): string =>
  align === 'left' ? text.padEnd(width) : text.padStart(width)

/** One line a row below the titles, two spaces between columns, nothing at line ends. */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
): ReadonlyArray<string> => {
  const all = [columns.map((c) => c.title), ...rows]
  const widths = columns.map((_, i) => Math.max(...all.map((r) => r[i]?.length ?? 0)))
  return all.map((r) =>
    columns
      .map((c, i) => pad(r[i] ?? '', widths[i]!, c.align))
      .join('  ')
      .trimEnd(),
  )
}
