/** Turns prompts and answers into token sequences, and keeps account of everything that is cut or left out. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/** The sequence of a sample is its prompt followed by its target; only target ids are scored. */
export interface Sample {
  /** Index of the row in its table. */
  readonly row: number
  /** [BOS] and the prompt. */
  readonly prompt: ReadonlyArray<number>
  /** [BOS if `targetBos`], the answer and EOS (unless cut off); empty where labels are learned. */
  readonly target: ReadonlyArray<number>
  /** Of a pair: the worse answer to the same prompt, made as `target` is. */
  readonly rejected?: ReadonlyArray<number>
  /** Whether the answer is a good one, where rows are labelled. */
  readonly desirable?: boolean
  /** Beside a label: the answer of another row, cut so that it fits behind this prompt. */
  readonly other?: ReadonlyArray<number>
  /** What heads predict, one number each: a class, 0 or 1, or the number itself. */
  readonly labels?: ReadonlyArray<number>
}

/** A row's texts; null where the cell is empty. */
export interface RowText {
  readonly row: number
  readonly prompt: string | null
  readonly target: string | null
  readonly rejected?: string | null
  readonly desirable?: boolean
}

export interface SampleOptions {
  /** Tokens kept of a prompt, its BOS among them: `max_sequence_length` of the input feature. */
  readonly promptLimit?: number
  /** Tokens kept of an answer, its BOS among them, EOS not: `max_sequence_length` of the output feature. */
  readonly targetLimit?: number
  /** Tokens kept of both together: the smaller of `global_max_sequence_length` and the context length. */
  readonly sequenceLimit: number
  /** Ludwig encodes answers with a BOS of their own. */
  readonly targetBos: boolean
  /** Rows of the model's embedding; ids beyond it are an Issue. */
  readonly modelVocab: number
}

export type NoteKind =
  | 'empty prompt filled'
  | 'empty target'
  | 'prompt cut'
  | 'target cut'
  | 'empty rejected'
  | 'rejected cut'
  | 'sequence cut'
  | 'nothing scored'

/** Something that happened to one row on its way to a sample. */
export interface RowNote {
  readonly row: number
  readonly kind: NoteKind
  /** Tokens lost; for a dropped row 0. */
  readonly tokens: number
}

/** Kinds that leave the row out. */
export const dropped: ReadonlySet<NoteKind> = new Set([
  'empty target',
  'empty rejected',
  'nothing scored',
])

export interface Samples {
  readonly samples: ReadonlyArray<Sample>
  readonly notes: ReadonlyArray<RowNote>
}

/** What Ludwig writes into an empty prompt. */
export const filler = '<UNK>'

type Cut = { readonly ids: ReadonlyArray<number>; readonly lost: number }

export const cut = (ids: ReadonlyArray<number>, limit: number | undefined): Cut =>
  limit === undefined || ids.length <= limit
    ? { ids, lost: 0 }
    : { ids: ids.slice(0, limit), lost: ids.length - limit }

interface Built {
  readonly sample?: Sample
  readonly notes: ReadonlyArray<RowNote>
}

/** Prompt and target are cut on the right, each and then together, so that a long prompt eats the answer, as in Ludwig. */
/** [BOS] and a row's prompt, as it is put to the model. */
export const promptIds = (
  tokenizer: Tokenizer,
  { prompt }: RowText,
  { promptLimit }: Pick<SampleOptions, 'promptLimit'>,
): Cut => cut(tokenizer.encode(prompt ?? filler, { addBos: true }), promptLimit)

const build = (tokenizer: Tokenizer, eos: number, text: RowText, options: SampleOptions): Built => {
  const { row } = text
  if (text.target === null) return { notes: [{ row, kind: 'empty target', tokens: 0 }] }
  const prompt = promptIds(tokenizer, text, options)
  const target = cut(
    tokenizer.encode(text.target, { addBos: options.targetBos }),
    options.targetLimit,
  )
  const whole = cut([...prompt.ids, ...target.ids, eos], options.sequenceLimit)
  const losses: ReadonlyArray<readonly [NoteKind, number]> = [
    ['prompt cut', prompt.lost],
    ['target cut', target.lost],
    ['sequence cut', whole.lost],
  ]
  const notes: ReadonlyArray<RowNote> = [
    ...(text.prompt === null ? [{ row, kind: 'empty prompt filled', tokens: 0 } as const] : []),
    ...losses.flatMap(([kind, tokens]) => (tokens > 0 ? [{ row, kind, tokens }] : [])),
  ]
  const scored = whole.ids.length - Math.max(1, prompt.ids.length)
  return scored > 0
    ? {
        sample: {
          row,
          prompt: whole.ids.slice(0, prompt.ids.length),
          target: whole.ids.slice(prompt.ids.length),
        },
        notes,
      }
    : { notes: [...notes, { row, kind: 'nothing scored', tokens: 0 }] }
}

const ofRejected: Readonly<Partial<Record<NoteKind, NoteKind>>> = {
  'empty target': 'empty rejected',
  'target cut': 'rejected cut',
  'sequence cut': 'sequence cut',
  'nothing scored': 'nothing scored',
}

/** Both answers of a pair, or the one there is; what happened to the prompt is told once. */
const buildRow = (
  tokenizer: Tokenizer,
  eos: number,
  text: RowText,
  options: SampleOptions,
): Built => {
  const good = build(tokenizer, eos, text, options)
  const { desirable, rejected } = text
  if (rejected === undefined)
    return good.sample === undefined || desirable === undefined
      ? good
      : { ...good, sample: { ...good.sample, desirable } }
  const bad = build(tokenizer, eos, { ...text, target: rejected }, options)
  const kinds = new Set(good.notes.map((n) => n.kind))
  const more = bad.notes.flatMap((n) => {
    const kind = ofRejected[n.kind]
    return kind === undefined || kinds.has(kind) ? [] : [{ ...n, kind }]
  })
  const notes = [...good.notes, ...more]
  return good.sample === undefined || bad.sample === undefined
    ? { notes }
    : { sample: { ...good.sample, rejected: bad.sample.target }, notes }
}

/** Each row's prompt with the answer of the row before it, as far as both fit: what the model makes of answers that are none. */
export const withOthers = (
  samples: ReadonlyArray<Sample>,
  sequenceLimit: number,
): ReadonlyArray<Sample> =>
  samples.map((s, i) => ({
    ...s,
    other: samples.at(i - 1)!.target.slice(0, Math.max(1, sequenceLimit - s.prompt.length)),
  }))

export const tooLarge = (
  sample: Sample,
  tokenizer: Tokenizer,
  vocab: number,
): string | undefined => {
  // Whatever is no id below the vocabulary: -100 would mean "not scored".
  const id = [...sample.prompt, ...sample.target, ...(sample.rejected ?? [])].find(
    (token) => !(Number.isInteger(token) && token >= 0 && token < vocab),
  )
  return id === undefined
    ? undefined
    : `the token ${JSON.stringify(tokenizer.decode([id]))} has id ${id}, and the model knows ids below ${vocab}`
}

/**
 * One sample per row that has something to learn, in the order given: [BOS] prompt ++ [BOS] target ++ EOS.
 * Left: no EOS to end an answer with, or an id the model has no embedding for (`at` tells where the row stands).
 */
export const buildSamples = (
  tokenizer: Tokenizer,
  texts: ReadonlyArray<RowText>,
  options: SampleOptions,
  at: (row: number) => Pick<Issue, 'file' | 'line'> = () => ({}),
): E.Either<Issues, Samples> => {
  const eos = tokenizer.eosIds[0]
  if (eos === undefined)
    return E.left(
      one(
        issue('the tokenizer has no end-of-sequence token, so no answer could be learned to end', {
          hint: 'set eos_token in tokenizer_config.json',
        }),
      ),
    )
  const samples: Array<Sample> = []
  const notes: Array<RowNote> = []
  for (const text of texts) {
    const built = buildRow(tokenizer, eos, text, options)
    notes.push(...built.notes)
    if (!built.sample) continue
    const why = tooLarge(built.sample, tokenizer, options.modelVocab)
    if (why !== undefined)
      return E.left(
        one(
          issue(why, {
            ...at(text.row),
            hint: 'the tokenizer and the model do not belong together',
          }),
        ),
      )
    samples.push(built.sample)
  }
  return E.right({ samples, notes })
}
