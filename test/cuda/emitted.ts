/** The programs whose launch lists are looked at without a GPU: Llama-2-7B, the bundled job, and the models of the conformance suite. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { lower, type Lowered } from '../../backends/cuda/lower/lower.ts'
import { cards } from '../../backends/cuda/lower/targets.ts'
import type { Program } from '../../ir/graph.ts'
import type { Compute } from '../../passes/index.ts'
import { parseConfig, type Config } from '../../src/config/index.ts'
import { planOf } from '../../src/plan/plan.ts'
import { trained } from '../conformance.ts'
import { right } from '../right.ts'

const examples = path.join(import.meta.dirname, '../../examples')

/** The plan's program of an example, computed in a type. */
const example = (
  file: string,
  compute: Config['compiler']['compute_dtype'],
  change: (c: Config) => Config = (c) => c,
): Program => {
  const at = path.join(examples, file)
  const { config } = right(parseConfig(readFileSync(at, 'utf8'), { file: at }))
  const asked = { ...config, compiler: { ...config.compiler, compute_dtype: compute } }
  return right(planOf(change(asked), { folder: path.dirname(at), clock: () => 0 })).program
}

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly is: T } | null = null
  return () => (made ??= { is: make() }).is
}

type Narrow = 'bf16' | 'f16' | 'float8'
const longNames = { bf16: 'bfloat16', f16: 'float16', float8: 'float8' } as const

/** 1 × 2,048 tokens, as the benchmark has it. */
const llama = (half: Narrow): Program =>
  example('llama-2-7b/llama2_7b_4bit.yaml', longNames[half], (c) => ({
    ...c,
    preprocessing: { ...c.preprocessing, global_max_sequence_length: 2048 },
    compiler: { ...c.compiler, row_length: 2048, micro_batch_rows: 1 },
  }))

const bundled = (half: Narrow): Program => example('code-instructions/qlora.yaml', longNames[half])

const model = (compute: Compute): Program => trained(compute, { _tag: 'layers' })

export interface Emitted {
  readonly name: string
  readonly program: () => Program
}

const halves = (half: Narrow): ReadonlyArray<Emitted> => [
  { name: `Llama-2-7B in ${half}`, program: once(() => llama(half)) },
  { name: `the bundled job in ${half}`, program: once(() => bundled(half)) },
  { name: `the conformance model in ${half}`, program: once(() => model(half)) },
]
const inBf16 = halves('bf16')
const inF16 = halves('f16')
const inFloat8 = halves('float8')
const inF32: Emitted = { name: 'the conformance model in f32', program: once(() => model('f32')) }

/** What runs on a card: Turing computes in f16, all others in bf16 and, where a config asks for it, f16; Ada and later in 8-bit floats. */
export const emittedFor = (arch: number): ReadonlyArray<Emitted> =>
  arch === 75 ? [...inF16, inF32] : [...inBf16, inF16[2]!, ...(arch >= 89 ? inFloat8 : []), inF32]

export const loweredFor = (e: Emitted, arch: number): Lowered =>
  lower(e.program(), cards.find((c) => c.target.arch === arch)!.target)
