/** What a run tells while it runs, as data. */
import type { Metrics } from './measured.ts'

export type TrainEvent =
  | {
      readonly _tag: 'start'
      readonly resultsFolder: string
      /** Optimizer steps that are over already, and those of the whole run. */
      readonly from: number
      readonly steps: number
      readonly epochs: number
      /** Values that are trained. */
      readonly parameters: number
      readonly samples: {
        readonly train: number
        readonly validation: number
        readonly test: number
      }
    }
  /** Rows that a frozen encoder has read, of those that it will read now. */
  | { readonly _tag: 'encoding'; readonly done: number; readonly of: number }
  | {
      readonly _tag: 'step'
      /** 1-based, of `of`. */
      readonly step: number
      readonly of: number
      /** 1-based. */
      readonly epoch: number
      /** Mean over the scored tokens of the step, in nats. */
      readonly loss: number
      /** What else is known of the step's samples; empty where nothing is. */
      readonly metrics: Readonly<Record<string, number>>
      readonly lr: number
      readonly gradNorm: number
      /** False when an f16 gradient overflowed and the weights stay. */
      readonly applied: boolean
      /** Tokens of the step's samples, padding apart. */
      readonly tokens: number
      /** Since this process began to train. */
      readonly tokensPerSecond: number
      readonly secondsLeft: number
    }
  | {
      readonly _tag: 'evaluation'
      readonly step: number
      readonly epoch: number
      readonly training: Partial<Metrics>
      /** Null without validation rows. */
      readonly validation: Metrics | null
      readonly improved: boolean
      /** Evaluations since the best one. */
      readonly sinceBest: number
    }
  | {
      /** What the model made of the data before it is trained, which preferences are measured by. */
      readonly _tag: 'reference'
      readonly sequences: number
      /** False where the cache of the results had it. */
      readonly computed: boolean
      readonly cache: string
    }
  | { readonly _tag: 'checkpoint'; readonly step: number; readonly folder: string }
  /** `asked`: a stop was requested and the run can be resumed; `early`: no improvement any more. */
  | { readonly _tag: 'stopped'; readonly why: 'asked' | 'early'; readonly step: number }
  | {
      readonly _tag: 'done'
      readonly step: number
      readonly kept: Kept
      /** Null when the run was stopped before anything was learned. */
      readonly adapterFolder: string | null
      readonly mergedFolder: string | null
    }

/** Which weights are the result, and why they. */
export type Kept =
  | { readonly _tag: 'best'; readonly step: number }
  | { readonly _tag: 'last'; readonly why: string }
