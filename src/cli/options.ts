/** Options and examples that several subcommands share. */
import { backendNames } from '../backends.ts'
import { isWithin, within, type Bound } from '../config/bounds.ts'
import type { Option } from './command.ts'

export const EXAMPLE = 'examples/code-instructions/qlora.yaml'
export const LARGE = 'examples/llama-2-7b/llama2_7b_4bit.yaml'

const formats = ['parquet', 'csv', 'jsonl']

const positive = (text: string): number | undefined => {
  const n = Number(text)
  return Number.isSafeInteger(n) && n > 0 ? n : undefined
}

export const whole = { read: positive, expected: 'a whole number of at least 1' }

export const upTo = (bound: Bound) => ({
  read: (text: string) => (isWithin(bound, Number(text)) ? Number(text) : undefined),
  expected: within(bound),
})

export const port = {
  read: (text: string) => {
    const n = Number(text)
    return Number.isSafeInteger(n) && n >= 0 && n < 65536 ? n : undefined
  },
  expected: 'a port from 0 (any that is free) to 65535',
}

export const config: readonly [string, string] = ['config', 'a YAML file']
export const lenient: Option = {
  flags: '--lenient',
  doc: 'ignore unknown keys with a notice each, as Ludwig does',
}
export const dataset: Option = {
  flags: '--dataset <file>',
  doc: "CSV, JSON or JSONL; instead of the config's compiler.dataset",
}
export const backend: Option = {
  flags: '--backend <name>',
  doc: "instead of the config's compiler.backend",
  choices: ['auto', ...backendNames],
}

export const modelName: Option = {
  flags: '--model-name <name>',
  doc: 'last part of their name',
  initial: 'run',
}

export const randomSeed: Option = {
  flags: '--random-seed <number>',
  doc: "instead of the config's random_seed",
  read: (text) => (/^\d+$/.test(text) && Number(text) < 2 ** 32 ? Number(text) : undefined),
  expected: 'a whole number from 0 to 4294967295',
}

export const format: Option = {
  flags: '--format <name>',
  doc: 'of the file that holds all columns',
  choices: formats,
  initial: 'parquet',
}
