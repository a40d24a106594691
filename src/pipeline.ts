/** THE pipeline: every pass in its one order, each with the reason for its place. A config switches passes on and sets them. */
import type { Float8 } from '../ir/number.ts'
import {
  accumulate,
  asked,
  differentiate,
  eightBit,
  freeze,
  heads,
  ia3,
  hold,
  lora,
  neftune,
  optimizer,
  precision,
  prefer,
  quantize,
  rematerialize,
  schedule,
  simplify,
  type Compute,
  byLiveness,
  type EightBit,
  type Ia3,
  type Lora,
  type Measure,
  type Optimizer,
  type Policy,
  type Prefer,
  type Quantize,
} from '../passes/index.ts'
import type { Pass } from '../passes/pass.ts'
import { REORDER } from './models/llama.ts'

/** What a config asks of the compiler; null switches a technique off. */
export interface Techniques {
  /** What is minimized instead of the likelihood of answers. */
  readonly prefer?: Prefer
  /** The adapter: low-rank matrices, or vectors. */
  readonly lora: Lora | Ia3 | null
  readonly quantize: Quantize | null
  readonly compute: Compute
  /** What float8 rounds cotangents to; e4m3 where nothing is said. */
  readonly back?: Float8
  readonly optimizer: Optimizer
  /** What the optimizer keeps lies in 8 bits. */
  readonly eightBit?: EightBit
  readonly recompute: Policy
  /** Noise on embeddings in training, by NEFTune's alpha. */
  readonly neftune?: number
  /** Heads over an encoder: the only thing trained, or beside what else is. */
  readonly heads?: 'alone' | 'beside'
  /** Names of trained tensors that are held as they are: a regular expression. */
  readonly hold?: string
  /** Nothing is trained: the program only evaluates and answers. */
  readonly frozen?: true
}

/** Passes that change the model itself; generation and evaluation need no others. */
export const modelPasses = (o: Techniques): ReadonlyArray<Pass> => [
  // First: it looks for the original weights, and freezing them decides what may be quantized.
  ...(o.lora === null ? [] : [o.lora.kind === 'ia3' ? ia3(o.lora) : lora(o.lora)]),
  // After lora, which freezes all but adapters; what heads leave frozen may be quantized.
  ...(o.heads === undefined || (o.heads === 'beside' && o.lora === null)
    ? []
    : [heads({ alone: o.heads === 'alone' })]),
  // LoRA freezes the base itself; without it and without training there is nothing else to tell frozen weights by.
  ...(o.frozen === undefined || o.lora !== null ? [] : [freeze]),
  // Frozen weights only, so after lora; before precision, which says what decoding rounds to.
  ...(o.quantize === null ? [] : [quantize(o.quantize)]),
  // Before differentiate: gradients then have the dtypes of the values they belong to.
  ...(o.compute === 'f32'
    ? []
    : [precision({ compute: o.compute, ...(o.back === undefined ? {} : { back: o.back }) })]),
  // After precision: what is held keeps its f32, as its trained neighbours do. Before differentiate, which spares its gradients.
  ...(o.hold === undefined || o.frozen !== undefined ? [] : [hold(o.hold)]),
]

/** Functions of a model that is asked. */
const ASKED = ['evaluate', 'prefill', 'decode', REORDER]

/** `measure` is what a budget counts: the memory of the backend that the program is for. */
export const pipeline = (o: Techniques, measure: Measure = byLiveness): ReadonlyArray<Pass> =>
  o.frozen === undefined ? trained(o, measure) : answering(o)

/** Nothing is trained: no backward pass, no optimizer. */
const answering = (o: Techniques): ReadonlyArray<Pass> => [
  ...modelPasses(o),
  asked(ASKED),
  simplify,
  schedule,
]

const trained = (o: Techniques, measure: Measure): ReadonlyArray<Pass> => [
  // What is minimized, before anything is made of it; it touches the loss alone.
  ...(o.prefer === undefined ? [] : [prefer(o.prefer)]),
  // Noise in training alone; before differentiate, and before recomputation, which makes it anew from its hash.
  ...(o.neftune === undefined ? [] : [neftune(o.neftune)]),
  ...modelPasses(o),
  // Towards trainable state alone, which lora has chosen.
  differentiate,
  // Needs the gradients; adds Adam's state.
  optimizer(o.optimizer),
  // Of the optimizer's state, once it exists; before accumulate, which moves the update whole.
  ...(o.eightBit === undefined ? [] : [eightBit(o.eightBit)]),
  // Gradient rules emit more than is needed; everything after sees the lean program.
  simplify,
  // Splits the step where gradients meet the optimizer, so after both exist.
  accumulate,
  // After accumulate: a budget counts gradient buffers. After simplify: merging equal equations would undo it.
  ...(o.recompute._tag === 'none' ? [] : [rematerialize(o.recompute, measure)]),
  // Last: offsets hold for the program as it is run.
  schedule,
]
