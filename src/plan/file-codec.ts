/** What the JSON file of a plan holds, and what of it is taken from there. */
import * as t from 'io-ts'
import type { Room } from '../../backends/backend.ts'
import type { ModelSpec } from '../models/spec.ts'
import type { Shapes } from '../models/llama.ts'
import { deviceCodec } from './device.ts'
import { fingerprintCodec } from './fingerprint.ts'

export const VERSION = 3

/** What a plan is made of. Everything else in its file is made of this again, and has to come out the same. */
export const inputsCodec = t.type({
  tunec: t.literal('plan'),
  version: t.literal(VERSION),
  /** Where the config's relative paths start, relative to this file. */
  folder: t.string,
  /** The config as YAML with every default written out. */
  config: t.string,
  base: t.type({
    name: t.string,
    files: t.union([t.readonlyArray(fingerprintCodec), t.null]),
  }),
  data: t.union([fingerprintCodec, t.null]),
  /** What it was planned for, with the rates and the free memory that it was planned by; null: a CPU. */
  device: t.union([deviceCodec, t.null]),
})
export type PlanInputs = t.TypeOf<typeof inputsCodec>

export interface PlanFile extends PlanInputs {
  readonly base: PlanInputs['base'] & { readonly spec: ModelSpec }
  readonly techniques: object
  readonly shapes: Shapes
  readonly room: Room | null
  readonly arenaBytes: number
  readonly totalBytes: number
  /** Bytes of temporaries each function needs at once. */
  readonly peaks: Readonly<Record<string, number>>
  /** The scheduled program as IR text. */
  readonly program: string
}
