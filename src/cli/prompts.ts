/** The prompts that `generate` puts to a model: one from the command line, or those of a file's rows. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/index.ts'
import { isEmpty } from '../data/cell.ts'
import { missingWordLines } from '../data/findings-text.ts'
import { promptColumns, renderPrompts, templateColumns } from '../data/prompt.ts'
import { missingWordsOf } from '../data/reading.ts'
import { listRows } from '../data/row-list.ts'
import { readTable, type Table } from '../data/table.ts'
import { datasetArgument, datasetPath } from '../hub/dataset-path.ts'
import { issue, one, type Issues } from '../issue.ts'
import { promptSpec } from '../plan/rows.ts'
import { plural } from '../report/units.ts'
import { decodeText, readText } from '../text-file.ts'
import { textOf, type Options } from './command.ts'

export interface Asked {
  readonly prompts: ReadonlyArray<string>
  /** What reading them decided. */
  readonly notes: ReadonlyArray<string>
}

const notesOf = (
  table: Table,
  prompts: ReadonlyArray<string | null>,
  shown: ReadonlyArray<string>,
): ReadonlyArray<string> => {
  const list = listRows(table)
  const rows = table.rows.map((_, row) => row)
  const empty = rows.filter((row) => prompts[row] === null)
  const nan = rows.filter((row) => shown.some((column) => isEmpty(table.rows[row]![column])))
  return [
    ...missingWordLines(missingWordsOf(table, rows, list), 3),
    ...(empty.length > 0
      ? [`! ${plural(empty.length, 'row')} without a prompt, asked with <UNK>`]
      : []),
    ...(nan.length > 0
      ? [`! ${plural(nan.length, 'row')} with nothing in a cell that the prompt shows as nan`]
      : []),
  ]
}

/** The prompts that a file's rows make; a row without one is asked with `<UNK>`, as in training. */
const promptsOf = (c: Config, file: string): E.Either<Issues, Asked> => {
  const spec = promptSpec(c)
  const uses = new Set(promptColumns(spec))
  return pipe(
    pipe(datasetPath(datasetArgument(file), '.'), E.mapLeft(one)),
    E.chain((at) => readTable(at, { uses, naAsText: c.compiler.na_as_text })),
    E.bindTo('table'),
    E.bind('prompts', ({ table }) => renderPrompts(spec, table)),
    E.map(({ table, prompts }) => ({
      prompts: prompts.map((p) => p ?? '<UNK>'),
      notes: notesOf(table, prompts, templateColumns(spec)),
    })),
  )
}

/** The text of a file, or of standard input where it is `-`, without its last line break. */
const promptIn = (file: string): E.Either<Issues, Asked> =>
  pipe(
    file === '-' ? decodeText(fs.readFileSync(0)) : readText(file),
    E.chain(E.fromNullable(issue('there is no such file', { file }))),
    E.bimap(one, (text) => ({ prompts: [text.replace(/\r?\n$/, '')], notes: [] })),
  )

/** One prompt, or those of a file. Left: none or several, or what is wrong with the file. */
export const wantedPrompts = (c: Config, o: Options): E.Either<Issues, Asked> => {
  const [prompt, file, rows] = ['prompt', 'promptFile', 'dataset'].map((name) => textOf(o, name))
  if ([prompt, file, rows].filter((given) => given !== undefined).length !== 1)
    return E.left(one(issue('give one of --prompt, --prompt-file and --dataset')))
  if (rows !== undefined) return promptsOf(c, rows)
  return file === undefined ? E.right({ prompts: [prompt!], notes: [] }) : promptIn(file)
}
