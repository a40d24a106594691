/** Ludwig's own endpoints: form fields are columns, and predictions come under its names. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Cell, Row } from '../data/cell.ts'
import { refusal, type Predictor, type Refusal } from './service.ts'

const complete = (p: Predictor, columns: ReadonlyArray<string>): E.Either<Refusal, void> => {
  const lacking = p.inputs.filter((c) => !columns.includes(c))
  return lacking.length === 0
    ? E.right(undefined)
    : E.left(
        refusal(
          400,
          `Data received does not contain all input features. Missing features: ${lacking.join(', ')}.`,
        ),
      )
}

export const predict = async (
  p: Predictor,
  form: Row,
  signal: AbortSignal,
): Promise<E.Either<Refusal, object>> => {
  const whole = complete(p, Object.keys(form))
  if (E.isLeft(whole)) return whole
  return pipe(
    await p.predict([form], signal),
    E.map(([values]) => Object.fromEntries(p.columns.map((n, i) => [n, values![i]]))),
  )
}

const cellOf = (value: unknown): Cell | undefined => {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  return undefined
}

const notATable = refusal(
  400,
  'the field `dataset` must be JSON with `columns` (names), `data` (rows of cells) and, if wanted, `index`',
)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

interface Batch {
  readonly columns: ReadonlyArray<string>
  readonly index: ReadonlyArray<unknown>
  readonly rows: ReadonlyArray<Row>
}

const batchOf = (text: string): E.Either<Refusal, Batch> =>
  pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => notATable,
    ),
    E.chain((json) => {
      if (!isRecord(json)) return E.left(notATable)
      const { columns: names, data, index } = json
      const isTable =
        Array.isArray(names) &&
        names.every((n) => typeof n === 'string') &&
        Array.isArray(data) &&
        data.every((row) => Array.isArray(row) && row.length === names.length) &&
        (index === undefined || (Array.isArray(index) && index.length === data.length))
      if (!isTable) return E.left(notATable)
      const cells = (data as ReadonlyArray<ReadonlyArray<unknown>>).map((row) => row.map(cellOf))
      if (cells.flat().includes(undefined)) return E.left(notATable)
      const rows = cells.map((row) => Object.fromEntries(row.map((c, i) => [names[i]!, c!])))
      return E.right({
        columns: names as ReadonlyArray<string>,
        index: (index as ReadonlyArray<unknown> | undefined) ?? rows.map((_, i) => i),
        rows,
      })
    }),
  )

/** pandas' `split` form, as Ludwig takes and gives it. */
export const batchPredict = async (
  p: Predictor,
  form: Row,
  signal: AbortSignal,
): Promise<E.Either<Refusal, object>> => {
  const { dataset } = form
  const batch = typeof dataset === 'string' ? batchOf(dataset) : E.left(notATable)
  if (E.isLeft(batch)) return batch
  const { rows, index } = batch.right
  const whole = complete(p, batch.right.columns)
  if (E.isLeft(whole)) return whole
  return pipe(
    rows.length === 0 ? E.right([]) : await p.predict(rows, signal),
    E.map((data) => ({ index, columns: p.columns, data })),
  )
}
