/** What the JSON file of a plan holds. */
import * as t from 'io-ts'
import { fingerprintCodec } from './fingerprint.ts'

export const VERSION = 1

const ropeCodec = t.strict({
  dim: t.number,
  theta: t.number,
  factor: t.number,
  lowFreqFactor: t.number,
  highFreqFactor: t.number,
  originalContext: t.number,
})

const specCodec = t.strict({
  family: t.union([t.literal('llama'), t.literal('mistral'), t.literal('qwen2')]),
  vocab: t.number,
  hidden: t.number,
  intermediate: t.number,
  layers: t.number,
  heads: t.number,
  kvHeads: t.number,
  headDim: t.number,
  eps: t.number,
  rope: ropeCodec,
  tied: t.boolean,
  qkvBias: t.boolean,
  oBias: t.boolean,
  mlpBias: t.boolean,
  context: t.number,
})

const generateCodec = t.strict({ batch: t.number, prompt: t.number, capacity: t.number })

export const fileCodec = t.strict({
  tunec: t.literal('plan'),
  version: t.literal(VERSION),
  /** Where the config's relative paths start, relative to this file. */
  folder: t.string,
  /** The config as YAML with every default written out. */
  config: t.string,
  base: t.strict({
    name: t.string,
    spec: specCodec,
    files: t.union([t.readonlyArray(fingerprintCodec), t.null]),
  }),
  data: t.union([fingerprintCodec, t.null]),
  techniques: t.UnknownRecord,
  shapes: t.strict({
    rows: t.number,
    length: t.number,
    generate: t.union([generateCodec, t.null]),
  }),
  arenaBytes: t.number,
  /** Bytes of temporaries each function needs at once. */
  peaks: t.record(t.string, t.number),
  /** The scheduled program as IR text. */
  program: t.string,
})
export type PlanFile = t.TypeOf<typeof fileCodec>
