/** The model that embeds texts, and the program and batches by which it does. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Feeds } from '../../backends/backend.ts'
import type { Compiled } from '../../passes/pass.ts'
import type { Config } from '../config/schema/config.ts'
import { issue, one, type Issues } from '../issue.ts'
import { findBase, type Base } from '../models/base.ts'
import type { Techniques } from '../pipeline.ts'
import { askingProgram } from '../plan/asking.ts'
import { ofBase, techniquesOf } from '../plan/techniques.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'

export interface Encoder {
  readonly base: Base
  /** The base's own folder: without it there is nothing to embed with. */
  readonly folder: string
  readonly techniques: Techniques
  readonly tokenizer: Tokenizer
}

/** Nothing is trained, and a model of its own is taken as its files hold it. */
const untrained = (c: Config, own: boolean): Config => ({
  ...c,
  adapter: null,
  quantization: own ? null : c.quantization,
  trainer: { ...c.trainer, type: 'none' },
  compiler: own ? { ...c.compiler, compute_dtype: 'float32' } : c.compiler,
})

const named = (base: Base): E.Either<Issues, string> =>
  base.folder === null
    ? E.left(
        one(
          issue(
            `only the architecture of ${base.name} is known here, and embedding needs weights`,
            {
              path: 'prompt.retrieval.model_name',
              expected: 'a folder with config.json, tokenizer.json and safetensors files',
              hint: 'leave model_name out to compare by the base model itself, or name a folder of a Llama, Mistral or Qwen2 model',
            },
          ),
        ),
      )
    : E.right(base.folder)

/** `model_name` of a config, else its base. Left: no such model, or one of another architecture. */
export const encoderOf = (c: Config, base: Base, home: string): E.Either<Issues, Encoder> => {
  const own = c.prompt.retrieval.model_name
  return pipe(
    own === null
      ? E.right(base)
      : pipe(
          findBase(own, home),
          E.mapLeft((i) => one({ ...i, path: 'prompt.retrieval.model_name' })),
        ),
    E.bindTo('base'),
    E.bind('folder', ({ base: found }) => named(found)),
    E.bind('tokenizer', ({ folder }) => pipe(loadTokenizer(folder), E.mapLeft(one))),
    E.map(({ base: found, folder, tokenizer }) => ({
      base: found,
      folder,
      tokenizer,
      techniques: ofBase(techniquesOf(untrained(c, own !== null)), found),
    })),
  )
}

/** Texts at once. */
const ROWS = 16

export interface Grid {
  readonly rows: number
  readonly length: number
}

/** Tokens of each text, as many as the model can look at. */
export const tokensOf = (
  { base, tokenizer }: Encoder,
  texts: ReadonlyArray<string>,
): ReadonlyArray<ReadonlyArray<number>> =>
  texts.map((text) => tokenizer.encode(text, { addBos: true }).slice(0, base.spec.context))

export const gridFor = (tokens: ReadonlyArray<ReadonlyArray<number>>): Grid => ({
  rows: Math.min(ROWS, Math.max(1, tokens.length)),
  length: 8 * Math.ceil(tokens.reduce((m, t) => Math.max(m, t.length), 1) / 8),
})

export const embeddingProgram = (e: Encoder, g: Grid): E.Either<Issues, Compiled> =>
  askingProgram(e.base, e.techniques, { ...g, generate: null, embed: true }, ['embed'])

/** A text a row, padding in a segment of its own and without weight. */
export const feeds = (batch: ReadonlyArray<ReadonlyArray<number>>, g: Grid): Feeds => {
  const size = g.rows * g.length
  const [tokens, segments] = [new Int32Array(size), new Int32Array(size)]
  const weights = new Float32Array(g.rows * size)
  batch.forEach((ids, r) => {
    const at = r * g.length
    tokens.set(ids, at)
    segments.fill(1, at, at + ids.length)
    weights.fill(1 / ids.length, r * size + at, r * size + at + ids.length)
  })
  return {
    tokens,
    segments,
    weights,
    targets: new Int32Array(size).fill(-100),
    positions: Int32Array.from({ length: size }, (_, i) => i % g.length),
  }
}
