/** Prepares a small data set for tests, from a table in memory to samples. */
import type { Cell, Table } from '../src/data/cell.ts'
import type { Dataset } from '../src/data/dataset.ts'
import { renderPrompts, type PromptSpec } from '../src/data/prompt.ts'
import { buildSamples, type SampleOptions } from '../src/data/samples.ts'
import { splitNames, splitRows } from '../src/data/split.ts'
import type { Tokenizer } from '../src/tokenizer/tokenizer.ts'
import { right } from './right.ts'

/** Rows from the second line on, as in a CSV file. */
export const tableOf = (
  columns: ReadonlyArray<string>,
  ...rows: ReadonlyArray<ReadonlyArray<Cell>>
): Table => ({
  file: 'data.csv',
  columns,
  rows: rows.map((cells) => Object.fromEntries(columns.map((name, i) => [name, cells[i] ?? null]))),
  lines: rows.map((_, i) => i + 2),
  separator: null,
  remarks: [],
})

/** One id per character: its code; BOS 1, EOS 2, written `^` and `$`. */
export const letters: Tokenizer = {
  encode: (text, { addBos = false } = {}) => [
    ...(addBos ? [1] : []),
    ...[...text].map((char) => (char === '^' ? 1 : char === '$' ? 2 : (char.codePointAt(0) ?? 0))),
  ],
  decode: (ids, { skipSpecial = false } = {}) =>
    (skipSpecial ? ids.filter((id) => id > 2) : ids)
      .map((id) => (id === 1 ? '^' : id === 2 ? '$' : String.fromCodePoint(id)))
      .join(''),
  bosId: 1,
  eosIds: [2],
  padId: null,
  vocabSize: 0x110000,
}

/** Split by the column `split`, answers from `answer`. */
export const prepared = (
  table: Table,
  prompt: PromptSpec,
  options: Partial<SampleOptions> = {},
  tokenizer: Tokenizer = letters,
): Dataset => {
  const split = right(
    splitRows(
      table,
      table.rows.map((_, i) => i),
      { type: 'fixed', column: 'split' },
      0,
    ),
  )
  const prompts = right(renderPrompts(prompt, table))
  const texts = table.rows.map((cells, row) => {
    const answer = cells.answer
    return { row, prompt: prompts[row] ?? null, target: typeof answer === 'string' ? answer : null }
  })
  const built = splitNames.map((name) =>
    right(
      buildSamples(
        tokenizer,
        split[name].flatMap((row) => texts[row] ?? []),
        {
          sequenceLimit: 1000,
          targetBos: false,
          modelVocab: letters.vocabSize,
          ...options,
        },
      ),
    ),
  )
  const [train, validation, test] = built.map(({ samples }) => samples)
  return {
    table,
    split,
    texts,
    samples: { train: train ?? [], validation: validation ?? [], test: test ?? [] },
    notes: built.flatMap(({ notes }) => notes),
  }
}
