/** Turns rows into prompts as Ludwig does: Python's `str.format` with columns as its keywords. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as RA from 'fp-ts/lib/ReadonlyArray.js'
import { readTemplate, type TemplatePart } from '../config/template.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { firstIssues } from './complaints.ts'
import { isEmpty, locate, unknownColumn, type Row, type Table } from './cell.ts'
import { str } from './python.ts'
import {
  cellOf,
  isSpecial,
  pieces,
  templatePath,
  type Columns,
  type Piece,
  type PromptSpec,
} from './template-pieces.ts'

export type { PromptSpec } from './template-pieces.ts'

/** Ludwig's zero-shot template. */
export const taskTemplate =
  'SAMPLE INPUT: {__sample__}\n\nUSER: Complete the following task: {__task__}\n\nASSISTANT:\n'

const namesSample = (parts: ReadonlyArray<TemplatePart>, columns: ReadonlyArray<string>): boolean =>
  parts.some((p) => 'field' in p && (p.field === '__sample__' || columns.includes(p.field)))

/** Ludwig's few-shot template. */
export const contextTemplate =
  'Below is relevant context:\n\nCONTEXT: {__context__}\n\nCONTEXT is comprised of labeled samples whose embeddings were similar to that of the sample input. The labels in\nthese samples could aid you in your final prediction. Given this and no prior knowledge, follow the instructions\nbelow.\n\n' +
  taskTemplate

/** The template's own text, or the built-in one that task and retrieval select; undefined: the input cell is the prompt. */
const templateOf = ({ template, task, retrieves }: PromptSpec): string | undefined =>
  template ?? (task === undefined ? undefined : retrieves === true ? contextTemplate : taskTemplate)

const compileTemplate = (
  template: string,
  spec: PromptSpec,
  data: Columns,
): E.Either<Issues, ReadonlyArray<Piece>> =>
  pipe(
    readTemplate(template),
    E.mapLeft((why) => one(issue(why, templatePath))),
    E.chain((parts) =>
      pipe(
        pieces(parts, spec, data),
        E.filterOrElse(
          () => namesSample(parts, data.columns),
          () =>
            one(
              issue('the template shows no column of the data, so every row has the same prompt', {
                ...templatePath,
                expected: `{__sample__} or one of ${data.columns.map((c) => `{${c}}`).join(', ')}`,
              }),
            ),
        ),
      ),
    ),
  )

const renderRow =
  (parts: ReadonlyArray<Piece>, table: Table) =>
  (row: Row, index: number): E.Either<Issue, string> => {
    let text = ''
    for (const part of parts) {
      const rendered = part(row, index)
      if (E.isLeft(rendered)) return E.left(issue(rendered.left, locate(table, index)))
      text += rendered.right
    }
    return E.right(text)
  }

/** Every column that prompts are made of, the input's own where it is shown. */
export const promptColumns = (spec: PromptSpec): ReadonlyArray<string> => {
  const template = templateOf(spec)
  const showsInput =
    template === undefined ||
    E.exists((parts: ReadonlyArray<TemplatePart>) =>
      parts.some((part) => 'field' in part && ['__sample__', '__context__'].includes(part.field)),
    )(readTemplate(template))
  return [...(showsInput ? [spec.inputColumn] : []), ...templateColumns(spec)]
}

/** The columns a template shows, in order of appearance; empty when it cannot be read. */
export const templateColumns = (spec: PromptSpec): ReadonlyArray<string> =>
  pipe(
    readTemplate(templateOf(spec) ?? ''),
    E.map(RA.flatMap((part) => ('field' in part && !isSpecial(part.field) ? [part.field] : []))),
    E.match(
      () => [],
      (fields) => [...new Set(fields)],
    ),
  )

/**
 * One prompt for each row of the table. Without template and task it is the input cell as text, null when that
 * is empty; in a template an empty cell shows as `nan`. Left: an unknown column or a cell that does not fit, with lines.
 */
export const renderPrompts = (
  spec: PromptSpec,
  table: Table,
): E.Either<Issues, ReadonlyArray<string | null>> => {
  const template = templateOf(spec)
  if (template === undefined)
    return table.columns.includes(spec.inputColumn)
      ? E.right(
          table.rows.map((row) => {
            const cell = cellOf(row, spec.inputColumn)
            return isEmpty(cell) ? null : str(cell)
          }),
        )
      : E.left(one({ ...unknownColumn(spec.inputColumn, table), file: table.file }))
  return pipe(
    compileTemplate(template, spec, table),
    E.chain((parts) => {
      const rendered = table.rows.map(renderRow(parts, table))
      const [first, ...rest] = RA.lefts(rendered)
      return first
        ? E.left(firstIssues([first, ...rest], table.file))
        : E.right(RA.rights(rendered))
    }),
  )
}
