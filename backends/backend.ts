/** What a backend is: it prepares a program, runs its functions, and lets the host read and write named state. */
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { Program } from '../ir/graph.ts'
import type { Float } from '../ir/type.ts'

/** What can go wrong beneath the compiler. */
export interface BackendError {
  readonly _tag: 'BackendError'
  readonly backend: string
  readonly message: string
  readonly hint?: string
  /** There is not enough of it: another plan may do. */
  readonly lacks?: 'memory'
}

export const backendError = (backend: string, message: string, hint?: string): BackendError => ({
  _tag: 'BackendError',
  backend,
  message,
  ...(hint === undefined ? {} : { hint }),
})

/** Values of inputs and outputs: i32 tensors and f32 tensors, row-major. */
export type Values = Int32Array | Float32Array
export type Feeds = Readonly<Record<string, Values>>

/** A tensor as a checkpoint stores it: little-endian values, row-major, read in pieces of any size. */
export interface Stored<Err> {
  readonly dtype: Float
  /** Bytes in all. */
  readonly length: number
  /** Fills `into` with the bytes from position `at` on. */
  readonly read: (into: Uint8Array, at: number) => TaskEither<Err, void>
}

/** Makes state, most of it from the bytes of a checkpoint, without a detour through the host's arrays. */
export interface Loader {
  /** Right(false): the state is not made here, or a value is not finite or too large; the host's way makes it or says which. */
  readonly load: <Err>(
    state: string,
    stored: Stored<Err>,
  ) => TaskEither<BackendError | Err, boolean>
  /** The same value everywhere. Right(false): the host makes it. */
  readonly fill: (state: string, value: number) => TaskEither<BackendError, boolean>
  readonly close: () => TaskEither<BackendError, void>
}

export interface Session {
  /** Runs a function: state it updates is updated, the outputs wanted are returned, all where none are named. */
  readonly run: (
    fn: string,
    inputs: Feeds,
    wanted?: ReadonlyArray<string>,
  ) => TaskEither<BackendError, Feeds>
  /** The bytes of a state tensor, laid out as `parts` of its type. */
  readonly read: (state: string) => TaskEither<BackendError, Uint8Array>
  readonly write: (state: string, bytes: Uint8Array) => TaskEither<BackendError, void>
  /** Absent where the host makes all state. No function runs until the loader is closed. */
  readonly loader?: () => TaskEither<BackendError, Loader>
  readonly close: () => TaskEither<BackendError, void>
}

/** How a program uses a device's memory, where the backend has a choice: a GPU's has, others take no notice. */
export interface Room {
  /** Bytes of decoded weights at once, beyond which layers of one input are decoded and multiplied one after the other. */
  readonly scratch: number
  /** Layers, from the last, whose decoded weights stay from the forward to the backward. */
  readonly keep: number
}

export interface Backend {
  readonly name: string
  readonly doc: string
  /** Null when it works here, else why not and how to mend it. */
  readonly diagnose: () => Promise<string | null>
  /** `room` is a plan's choice; without one, or with null, the backend's usual. */
  readonly prepare: (p: Program, room?: Room | null) => TaskEither<BackendError, Session>
}
