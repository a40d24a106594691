/** Puts several samples into one row of T tokens, so that hardly any work is spent on padding. */
import * as E from 'fp-ts/lib/Either.js'
import { hash32 } from '../../ir/random.ts'
import { issue, type Issue } from '../issue.ts'
import type { Sample } from './samples.ts'

/** The inputs of one micro-step: R rows of T tokens, row-major, each of R·T elements. */
export interface MicroBatch {
  /** Token ids; 0 in the tail. */
  readonly tokens: Int32Array
  /** Places within the sample, from 0; 0 in the tail. */
  readonly positions: Int32Array
  /** Samples of a row count 1, 2, …; 0 is the tail. */
  readonly segments: Int32Array
  /** The id to predict at each place: the sample's next token if that is scored, else −100. */
  readonly targets: Int32Array
  /** A number for each place, by its sample's place in the list that was packed and its own in the sample; 0 in the tail. */
  readonly keys: Int32Array
  /** Tokens of the sample at each place; 1 in the tail. */
  readonly lengths: Float32Array
  /** How many targets are not −100. */
  readonly scored: number
  /** Indices into the list that was packed, row by row. */
  readonly samples: ReadonlyArray<number>
  /** Places that hold a token of a sample. */
  readonly tokensUsed: number
}

export const unscored = -100

type Lengths = Pick<Sample, 'prompt' | 'target'>

export const lengthOf = (sample: Lengths): number => sample.prompt.length + sample.target.length

/** Index of the first of ascending numbers that is at least `n`. */
const firstFrom = (numbers: ReadonlyArray<number>, n: number): number => {
  let [low, high] = [0, numbers.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (numbers[middle]! < n) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Opens and fills rows: `place` puts a sample of `length` into the fullest row that still has room. Only rooms that
 * there are get looked at: a row may be a million tokens long.
 */
const rowsOf = (rowLength: number, perRow: number) => {
  const rows: Array<Array<number>> = []
  const byRoom = new Map<number, Array<Array<number>>>()
  /** The keys of `byRoom`, ascending. */
  const rooms: Array<number> = []
  const take = (length: number): readonly [row: Array<number>, room: number] => {
    const at = firstFrom(rooms, length)
    const room = rooms[at]
    if (room === undefined) {
      const row: Array<number> = []
      rows.push(row)
      return [row, rowLength]
    }
    const open = byRoom.get(room)!
    const row = open.pop()!
    if (open.length === 0) {
      byRoom.delete(room)
      rooms.splice(at, 1)
    }
    return [row, room]
  }
  const leave = (row: Array<number>, room: number): void => {
    const open = byRoom.get(room)
    if (open !== undefined) return void open.push(row)
    byRoom.set(room, [row])
    rooms.splice(firstFrom(rooms, room), 0, room)
  }
  return {
    rows,
    place: (index: number, length: number): void => {
      const [row, room] = take(length)
      row.push(index)
      if (room > length && row.length < perRow) leave(row, room - length)
    },
  }
}

const tooLong = (sample: Sample, rowLength: number): Issue =>
  issue(
    `row ${sample.row + 1} of the data has ${lengthOf(sample)} tokens and a batch row ${rowLength}`,
    {
      hint: 'lower preprocessing.global_max_sequence_length or make batch rows longer',
    },
  )

/**
 * Rows of sample indices by best-fit decreasing: longest first, each into the fullest row that has room. Equal
 * lengths keep their order, so the same samples always give the same rows. `perRow`: no row gets more samples.
 * Left: a sample longer than a row.
 */
export const pack = (
  samples: ReadonlyArray<Sample>,
  options: { readonly rowLength: number; readonly perRow?: number },
): E.Either<Issue, ReadonlyArray<ReadonlyArray<number>>> => {
  const { rowLength, perRow = Infinity } = options
  const long = samples.find((sample) => lengthOf(sample) > rowLength)
  if (long) return E.left(tooLong(long, rowLength))
  const sized = samples.map((sample, index) => ({ index, length: lengthOf(sample) }))
  const { rows, place } = rowsOf(rowLength, perRow)
  for (const { index, length } of sized.toSorted((a, b) => b.length - a.length))
    place(index, length)
  return E.right(rows)
}

interface Place {
  readonly start: number
  readonly segment: number
  /** In the list that was packed. */
  readonly index: number
}

/** Writes one sample and returns how many targets it scores. */
const write = (into: MicroBatch, { start, segment, index }: Place, sample: Sample): number => {
  const ids = [...sample.prompt, ...sample.target]
  ids.forEach((id, i) => {
    into.tokens[start + i] = id
    into.positions[start + i] = i
    into.segments[start + i] = segment
    into.keys[start + i] = hash32(index, 0, i)
    into.lengths[start + i] = ids.length
    const next = ids[i + 1]
    if (next !== undefined && i + 1 >= sample.prompt.length) into.targets[start + i] = next
  })
  return Math.min(sample.target.length, ids.length - 1)
}

const fill = (
  samples: ReadonlyArray<Sample>,
  rows: ReadonlyArray<ReadonlyArray<number>>,
  shape: { readonly rows: number; readonly length: number },
): MicroBatch => {
  const size = shape.rows * shape.length
  const empty: MicroBatch = {
    tokens: new Int32Array(size),
    positions: new Int32Array(size),
    segments: new Int32Array(size),
    keys: new Int32Array(size),
    lengths: new Float32Array(size).fill(1),
    targets: new Int32Array(size).fill(unscored),
    scored: 0,
    samples: rows.flat(),
    tokensUsed: 0,
  }
  let scored = 0
  let tokensUsed = 0
  rows.forEach((row, r) => {
    let start = r * shape.length
    row.forEach((index, i) => {
      const sample = samples[index]
      if (!sample) return
      scored += write(empty, { start, segment: i + 1, index }, sample)
      start += lengthOf(sample)
      tokensUsed += lengthOf(sample)
    })
  })
  return { ...empty, scored, tokensUsed }
}

/**
 * One effective batch as however many micro-batches of `rows` × `length` tokens it needs; rows left over in the
 * last one are all tail. No batch, no micro-batch. Left: a sample longer than a row.
 */
export const packBatch = (
  samples: ReadonlyArray<Sample>,
  shape: { readonly rows: number; readonly length: number; readonly perRow?: number },
): E.Either<Issue, ReadonlyArray<MicroBatch>> =>
  E.map((packed: ReadonlyArray<ReadonlyArray<number>>) =>
    Array.from({ length: Math.ceil(packed.length / shape.rows) }, (_, i) =>
      fill(samples, packed.slice(i * shape.rows, (i + 1) * shape.rows), shape),
    ),
  )(
    pack(samples, {
      rowLength: shape.length,
      ...(shape.perRow === undefined ? {} : { perRow: shape.perRow }),
    }),
  )
