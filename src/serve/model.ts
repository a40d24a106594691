/** A model that is served: its engine, and what the words and numbers of requests mean to it. */
import type { Config } from '../config/index.ts'
import type { Options } from '../generate/index.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Engine } from './engine.ts'

export interface Served {
  /** Its id, as requests name it. */
  readonly name: string
  /** When it was loaded, in seconds since 1970. */
  readonly created: number
  /** What its answers depend on besides the request. */
  readonly fingerprint: string
  readonly config: Config
  readonly tokenizer: Tokenizer
  /** The config's `generation`: what a request leaves out. */
  readonly options: Options
  /** Tokens of prompt and answer together. */
  readonly context: number
  readonly engine: Engine
  /** A seed for requests that name none. */
  readonly seed: () => number
  /** A new name for an answer. */
  readonly id: (kind: string) => string
  /** The time, in seconds since 1970. */
  readonly seconds: () => number
}
