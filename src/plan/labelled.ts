/** The samples of a job whose outputs heads predict, and the heads that its data calls for. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import { labelOutputs } from '../config/outputs.ts'
import { locate, type Table } from '../data/cell.ts'
import { balanced, buildLabelled } from '../data/labelled.ts'
import { lengthOf } from '../data/pack.ts'
import type { RowText, SampleOptions, Samples } from '../data/samples.ts'
import { splitNames, type Split } from '../data/split.ts'
import { readKnown, readTargets, type Read, type Target } from '../data/targets.ts'
import type { Issues } from '../issue.ts'
import type { Head, Labels } from '../models/labels.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Dataset } from './dataset.ts'

export interface LabelledRows {
  readonly table: Table
  readonly split: Split
  readonly texts: ReadonlyArray<RowText>
  readonly tokenizer: Tokenizer
}

export interface Known {
  /** Of a model that is trained already; absent: the data decides. */
  readonly targets?: ReadonlyArray<Target>
  /** Rows may lack labels. */
  readonly asking: boolean
}

const readsOf = (
  c: Config,
  { table, split }: LabelledRows,
  { targets }: Known,
): E.Either<Issues, ReadonlyArray<Read>> =>
  targets === undefined
    ? readTargets(
        labelOutputs(c),
        table,
        splitNames.flatMap((name) => split[name]),
        split.train,
      )
    : E.right(readKnown(targets, table))

/** A label that is not there is NaN to whoever only asks. */
const lenient = (reads: ReadonlyArray<Read>): ReadonlyArray<Read> =>
  reads.map((r) => ({ ...r, values: r.values.map((v) => v ?? NaN) }))

/** Samples of each split, the training ones balanced as asked. */
export const labelledSamples = (
  c: Config,
  rows: LabelledRows,
  options: SampleOptions,
  known: Known,
): E.Either<
  Issues,
  { readonly built: ReadonlyArray<Samples>; readonly targets: ReadonlyArray<Target> }
> =>
  pipe(
    readsOf(c, rows, known),
    E.bindTo('reads'),
    E.bind('built', ({ reads }) =>
      pipe(
        [...splitNames],
        E.traverseArray((name) =>
          buildLabelled(
            rows.tokenizer,
            rows.split[name].map((row) => rows.texts[row]!),
            known.asking ? lenient(reads) : reads,
            options,
            (row) => locate(rows.table, row),
          ),
        ),
      ),
    ),
    E.map(({ reads, built: [train, ...rest] }) => {
      const { oversample_minority: oversample, undersample_majority: undersample } = c.preprocessing
      const samples = known.asking
        ? train!.samples
        : balanced(train!.samples, { oversample, undersample }, c.random_seed)
      return {
        built: [{ ...train!, samples }, ...rest],
        targets: reads.map((r) => r.target),
      }
    }),
  )

const kinds = { category: 'category', binary: 'binary', number: 'number' } as const

/** Feature names as parts of names in a program: letters, digits and _, no two alike. */
const keysOf = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const plain = names.map((n) => n.replace(/[^A-Za-z0-9_]/g, '_'))
  return plain.map((n, i) => (plain.indexOf(n) === plain.lastIndexOf(n) ? n : `${n}_${i}`))
}

/** Without data nobody knows how many classes there are. */
const FEWEST = 2

/** What the model gets for its outputs, by its data, or without any by what it was trained for; undefined for a model that writes text. */
export const labelsOf = (
  c: Config,
  data: Dataset | null,
  trained?: ReadonlyArray<Target>,
): Labels | undefined => {
  const [{ encoder, preprocessing }] = c.input_features
  if (c.model_type !== 'ecd' || encoder === null) return undefined
  const outputs = labelOutputs(c)
  const keys = keysOf(outputs.map((f) => f.name))
  const samples = data === null ? [] : splitNames.flatMap((name) => data.samples[name])
  return {
    heads: outputs.map((f, i): Head => {
      const target = (data?.targets ?? trained)?.[i]
      const classes = target?.kind === 'category' ? target.classes.length : FEWEST
      return {
        name: f.name,
        key: keys[i]!,
        kind: kinds[f.type],
        logits: f.type === 'category' ? classes : 1,
        bias: f.decoder.use_bias,
      }
    }),
    pool: encoder.reduce_output,
    // Without data nobody knows, and every text has a row of its own.
    shortest: samples.reduce((n, s) => Math.min(n, lengthOf(s)), Infinity),
    cached: preprocessing.cache_encoder_embeddings,
  }
}
