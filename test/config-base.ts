/** The YAML that config tests start from, and short ways to change and to read it. */
import * as E from 'fp-ts/lib/Either.js'

import { parseConfig, type ParsedConfig } from '../src/config/index.ts'
import type { Issue, Issues } from '../src/issue.ts'

export const base = `model_type: llm
base_model: models/tiny
input_features:
  - name: instruction
    type: text
output_features:
  - name: output
    type: text
prompt:
  template: |
    ### Instruction:
    {instruction}

    ### Response:
preprocessing:
  split:
    type: random
    probabilities: [0.8, 0.1, 0.1]
  global_max_sequence_length: 512
adapter:
  type: lora
  r: 16
  dropout: 0.1
quantization:
  bits: 4
generation:
  max_new_tokens: 64
compiler:
  memory_budget: 16GB
trainer:
  type: finetune
  learning_rate: 0.0003
  epochs: 3
  batch_size: 2
  gradient_accumulation_steps: 8
  optimizer:
    type: adamw
    betas: [0.9, 0.95]
  learning_rate_scheduler:
    decay: cosine
    warmup_fraction: 0.03
    t_0: 100
`

export const parse = (text: string, lenient = false): E.Either<Issues, ParsedConfig> =>
  parseConfig(text, { file: 'job.yaml', lenient })

/** The base with one piece of its text replaced. */
export const edited = (from: string, to: string): string => {
  if (!base.includes(from)) throw new Error(`the base has no ${from}`)
  return base.replace(from, () => to)
}

/** `line:column message; expected …; hint`. */
export const show = ({ line, column, message, expected, hint }: Issue): string =>
  [
    `${line}:${column} ${message}`,
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(hint === undefined ? [] : [hint]),
  ].join('; ')

export const problemsOf = (text: string): ReadonlyArray<string> => {
  const parsed = parse(text)
  return E.isLeft(parsed) ? parsed.left.map(show) : []
}

export const noticesOf = (text: string, lenient = false): ReadonlyArray<string> => {
  const parsed = parse(text, lenient)
  if (E.isLeft(parsed)) throw new Error(parsed.left.map(show).join('\n'))
  return parsed.right.notices.map((n) => `${n.line} ${n.path}: ${n.message}`)
}
