/** What a config's preferences are read from. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import type { Table } from '../data/cell.ts'
import type { Dataset } from '../data/dataset.ts'
import { bothKinds, labelsOf, rejectedOf, type Extras } from '../data/preference-cells.ts'
import { withOthers, type Sample } from '../data/samples.ts'
import type { Issues } from '../issue.ts'

/** What preferences are read from, of every row. */
export const extrasOf = (
  { trainer: { rejected_column: rejected, label_column: label } }: Config,
  table: Table,
  asking: boolean,
): E.Either<Issues, Extras> =>
  asking
    ? E.right([])
    : rejected !== null
      ? rejectedOf(table, rejected)
      : label !== null
        ? labelsOf(table, label)
        : E.right([])

/** Labelled rows learn also from answers that belong to other rows. Left: all labels are the same. */
export const preferred = (
  c: Config,
  limit: number,
  file: string,
  { train, ...held }: Dataset['samples'],
): E.Either<Issues, Dataset['samples']> => {
  const { label_column: label } = c.trainer
  if (label === null || train.some((s) => s.desirable === undefined))
    return E.right({ train, ...held })
  const mixed = (samples: ReadonlyArray<Sample>) => withOthers(samples, limit)
  return pipe(
    bothKinds(
      train.map((s) => s.desirable === true),
      label,
      file,
    ),
    E.map(() => ({
      train: mixed(train),
      validation: mixed(held.validation),
      test: mixed(held.test),
    })),
  )
}
