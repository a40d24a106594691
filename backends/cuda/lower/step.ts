/** A step of the device program before it has addresses: what it reads and writes, and how it becomes launches once everything lies somewhere. */
import type { Id } from '../../../ir/graph.ts'
import type { TensorType } from '../../../ir/type.ts'
import type { Rows } from '../kernels/card.ts'
import type { Work } from '../launch.ts'

/** A value of the function by its id, or by name one that only the device program has. */
export type Key = Id | string

/** Addresses, known once the arena is laid out. */
export interface Places {
  readonly rows: (key: Key) => Rows
  readonly offset: (key: Key) => number
  /** Columns from a value's first to the end of its buffer's row: its own, and those that lie beside it. */
  readonly room: (key: Key) => number
  /** Byte offset of the step's i-th scratch buffer. */
  readonly scratch: (i: number) => number
  /** Byte offset of a constant by its key. */
  readonly constant: (key: string) => number
}

/** What follows from frozen state alone: made once after that was written, and kept behind the state. Equal keys are one. */
export interface Constant {
  readonly key: string
  readonly bytes: number
  /** Names of the state that it follows from. */
  readonly of: ReadonlyArray<string>
  readonly works: (state: (name: string) => number, own: number) => ReadonlyArray<Work>
}

export interface Made {
  readonly key: Key
  readonly type: TensorType
}

export interface Step {
  /** The fusion rule, or the op where nothing was fused. */
  readonly rule: string
  /** Group of the profile. */
  readonly group: string
  /** Equations whose meaning it carries, by index. */
  readonly covers: ReadonlyArray<number>
  readonly reads: ReadonlyArray<Key>
  readonly writes: ReadonlyArray<Made>
  /** `[result, operand]`: the result may lie where the operand lay, if nothing reads that afterwards. */
  readonly over: ReadonlyArray<readonly [Key, Key]>
  /** Bytes of each scratch buffer, alive during this step alone. */
  readonly scratch: ReadonlyArray<number>
  /** Whether the step also works where its operands do not lie side by side. */
  readonly optionalJoins?: boolean
  readonly constants?: ReadonlyArray<Constant>
  readonly works: (at: Places) => ReadonlyArray<Work>
}

/** Values that lie side by side in the columns of one buffer, so that one product reads or writes them all. */
export interface Join {
  readonly rows: number
  /** Elements from one row to the next. */
  readonly ld: number
  readonly bytes: number
  /** Columns behind the members are room for what one step puts beside them. */
  readonly members: ReadonlyArray<{ readonly key: Key; readonly column: number }>
}
