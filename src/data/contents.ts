/** Things in the texts that training would learn or hide: contradictions, leaks, empty cells. */
import type { Dataset } from './dataset.ts'
import { templateColumns, type PromptSpec } from './prompt.ts'
import { shown, type ListRows, type RowList } from './row-list.ts'

/** One prompt that is answered in several ways. */
export interface Conflict {
  readonly prompt: string
  readonly answers: ReadonlyArray<string>
  readonly rows: RowList
}

export interface MissingCells {
  readonly column: string
  readonly rows: RowList
}

export interface Conflicts {
  readonly count: number
  readonly first: ReadonlyArray<Conflict>
}

export const noConflicts: Conflicts = { count: 0, first: [] }

/** Prompts with more than one answer, answers compared without the white space around them. */
export const conflictsOf = (
  dataset: Dataset,
  used: ReadonlyArray<number>,
  list: ListRows,
): Conflicts => {
  const byPrompt = new Map<
    string,
    { readonly answers: Set<string>; readonly rows: Array<number> }
  >()
  for (const row of used) {
    const text = dataset.texts[row]
    if (text === undefined || text.prompt === null || text.target === null) continue
    const group = byPrompt.get(text.prompt) ?? { answers: new Set(), rows: [] }
    group.answers.add(text.target.trim())
    group.rows.push(row)
    byPrompt.set(text.prompt, group)
  }
  const found = [...byPrompt].filter(([, { answers }]) => answers.size > 1)
  return {
    count: found.length,
    first: found.slice(0, shown).map(([prompt, { answers, rows }]) => ({
      prompt,
      answers: [...answers],
      rows: list(rows),
    })),
  }
}

/** Rows of validation and test whose prompt also trains. */
export const leakedRows = (dataset: Dataset): ReadonlyArray<number> => {
  const trained = new Set(dataset.split.train.map((row) => dataset.texts[row]?.prompt ?? null))
  return [...dataset.split.validation, ...dataset.split.test].filter((row) => {
    const prompt = dataset.texts[row]?.prompt ?? null
    return prompt !== null && trained.has(prompt)
  })
}

/** Empty cells that a template shows as `nan`, by column. */
export const missingOf = (
  dataset: Dataset,
  used: ReadonlyArray<number>,
  prompt: PromptSpec,
  list: ListRows,
): ReadonlyArray<MissingCells> =>
  templateColumns(prompt).flatMap((column) => {
    const rows = used.filter((row) => (dataset.table.rows[row]?.[column] ?? null) === null)
    return rows.length > 0 ? [{ column, rows: list(rows) }] : []
  })
