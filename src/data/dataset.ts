/** A data set ready to train on: which rows go where, their texts, their tokens, and what happened to them on the way. */
import type { Table } from './cell.ts'
import type { RowNote, RowText, Sample } from './samples.ts'
import type { Split, SplitName } from './split.ts'
import type { Target } from './targets.ts'

export interface Dataset {
  readonly table: Table
  /** Rows of the table by split, those included that gave no sample. */
  readonly split: Split
  /** The texts of every row of the table. */
  readonly texts: ReadonlyArray<RowText>
  readonly samples: { readonly [S in SplitName]: ReadonlyArray<Sample> }
  readonly notes: ReadonlyArray<RowNote>
  /** What heads predict; absent where text is written. */
  readonly targets?: ReadonlyArray<Target>
}
