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
  /** Of each scored place its sequence: those of the n-th sample of `samples` come one behind the other; −1 elsewhere. */
  readonly sequences: Int32Array
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

type Lengths = Pick<Sample, 'prompt' | 'target' | 'rejected' | 'other'>

/** Tokens in a row: both answers of a pair lie there, each behind the prompt. */
export const lengthOf = ({ prompt, target, rejected }: Lengths): number =>
  prompt.length + target.length + (rejected === undefined ? 0 : prompt.length + rejected.length)

/** Tokens that a row must have room for. */
export const roomOf = (s: Lengths): number =>
  Math.max(lengthOf(s), s.prompt.length + (s.other?.length ?? 0))

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

/** How samples become micro-batches. */
export interface Grid {
  readonly rows: number
  readonly length: number
  /** Prompts of the first answers are scored too, for their likelihood; they belong to no sequence. */
  readonly prompts?: boolean
  /** Most samples of a row. */
  readonly perRow?: number
}

interface Place {
  readonly start: number
  readonly segment: number
  /** In the list that was packed. */
  readonly index: number
  /** Tokens of the sample that lie before. */
  readonly before: number
  readonly sequence: number
}

/** Writes one sequence and returns how many targets it scores. */
const write = (
  into: MicroBatch,
  { start, segment, index, before, sequence }: Place,
  { prompt, target }: Pick<Sample, 'prompt' | 'target'>,
  prompts: boolean,
): number => {
  const ids = [...prompt, ...target]
  ids.forEach((id, i) => {
    into.tokens[start + i] = id
    into.positions[start + i] = i
    into.segments[start + i] = segment
    into.keys[start + i] = hash32(index, 0, before + i)
    into.lengths[start + i] = ids.length
    const next = ids[i + 1]
    if (next === undefined) return
    const answers = i + 1 >= prompt.length
    if (answers || prompts) into.targets[start + i] = next
    if (answers) into.sequences[start + i] = sequence
  })
  return prompts ? ids.length - 1 : Math.min(target.length, ids.length - 1)
}

/** The sequences of a sample, in the order of their numbers. */
const sequencesOf = ({
  prompt,
  target,
  rejected,
}: Sample): ReadonlyArray<Pick<Sample, 'prompt' | 'target'>> => [
  { prompt, target },
  ...(rejected === undefined ? [] : [{ prompt, target: rejected }]),
]

const fill = (
  samples: ReadonlyArray<Sample>,
  rows: ReadonlyArray<ReadonlyArray<number>>,
  shape: Grid,
): MicroBatch => {
  const size = shape.rows * shape.length
  const empty: MicroBatch = {
    tokens: new Int32Array(size),
    positions: new Int32Array(size),
    segments: new Int32Array(size),
    keys: new Int32Array(size),
    lengths: new Float32Array(size).fill(1),
    targets: new Int32Array(size).fill(unscored),
    sequences: new Int32Array(size).fill(-1),
    scored: 0,
    samples: rows.flat(),
    tokensUsed: 0,
  }
  let [scored, tokensUsed, sequence] = [0, 0, 0]
  rows.forEach((row, r) => {
    let start = r * shape.length
    let segment = 0
    for (const index of row) {
      const begin = start
      sequencesOf(samples[index]!).forEach((s, k) => {
        const place = { start, segment: ++segment, index, before: start - begin, sequence }
        scored += write(empty, place, s, k === 0 && shape.prompts === true)
        sequence += 1
        start += lengthOf(s)
      })
      tokensUsed += start - begin
    }
  })
  return { ...empty, scored, tokensUsed }
}

/**
 * One effective batch as however many micro-batches of `rows` × `length` tokens it needs; rows left over in the
 * last one are all tail. No batch, no micro-batch. Left: a sample longer than a row.
 */
export const packBatch = (
  samples: ReadonlyArray<Sample>,
  shape: Grid,
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
