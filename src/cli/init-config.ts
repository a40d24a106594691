/** `tunec init-config`: a config for a table, to begin with. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { stringify } from 'yaml'
import { parseConfig } from '../config/index.ts'
import { readTable, type Table } from '../data/table.ts'
import { unknownColumn } from '../data/cell.ts'
import { isAddress } from '../hub/address.ts'
import { datasetPath } from '../hub/dataset-path.ts'
import { issue, one, type Issues } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { textOf, type Options, type Run } from './command.ts'
import { refuse } from './open.ts'

/** A column that tells train, validation and test apart. */
const isSplit = (table: Table, column: string): boolean =>
  column === 'split' && table.rows.every((row) => /^[012]$/.test(String(row[column])))

const section = (column: string): string => `### ${column}:\n{${column}}\n\n`

const configOf = (table: Table, target: string, dataset: string, base: string): string => {
  const split = table.columns.find((c) => isSplit(table, c))
  const inputs = table.columns.filter((c) => c !== target && c !== split)
  return stringify(
    {
      model_type: 'llm',
      base_model: base,
      quantization: { bits: 4 },
      adapter: { type: 'lora' },
      prompt: { template: `${inputs.map(section).join('')}### ${target}:\n` },
      input_features: [{ name: inputs[0], type: 'text' }],
      output_features: [{ name: target, type: 'text' }],
      ...(split === undefined
        ? {}
        : { preprocessing: { split: { type: 'fixed', column: split } } }),
      trainer: { type: 'finetune', epochs: 3, learning_rate: 0.0003 },
      generation: { max_new_tokens: 64, do_sample: false },
      compiler: { dataset },
    },
    { blockQuote: 'literal', lineWidth: 0 },
  )
}

const targetIn = (table: Table, o: Options): E.Either<Issues, string> => {
  const [target = '', ...more] = (textOf(o, 'targets') ?? '').split(',')
  if (target === '' || more.length > 0)
    return E.left(
      one(
        issue(target === '' ? '--targets is wanted' : 'a language model answers one column', {
          expected: `one of ${table.columns.join(', ')}`,
        }),
      ),
    )
  if (!table.columns.includes(target)) return E.left(one(unknownColumn(target, table)))
  return table.columns.length > 1
    ? E.right(target)
    : E.left(one(issue(`beside ${target} there is no column to ask with`, { file: table.file })))
}

/** A path as a config says it that lies in `home`. */
const from = (home: string, name: string): string =>
  isAddress(name) ? name : path.relative(home, path.resolve(name))

/** Left also where the names of columns make no config. */
const made = (name: string, home: string, o: Options): E.Either<Issues, string> =>
  pipe(
    datasetPath(name, '.'),
    E.mapLeft(one),
    E.chain((file) => readTable(file)),
    E.bindTo('table'),
    E.bind('target', ({ table }) => targetIn(table, o)),
    E.map(({ table, target }) =>
      configOf(table, target, from(home, name), textOf(o, 'baseModel')!),
    ),
    E.chainFirst((text) => parseConfig(text, { file: 'config' })),
  )

export const run: Run = async (name, o, t) => {
  const output = textOf(o, 'output')
  const text = made(name, output === undefined ? '.' : path.dirname(path.resolve(output)), o)
  if (E.isLeft(text)) return refuse(text.left, t)
  if (output === undefined) return (t.out(text.right.trimEnd()), 0)
  const wrote = await atomicWrite(output, Buffer.from(text.right))()
  if (E.isLeft(wrote)) return refuse([wrote.left], t)
  t.out(`written to ${output}; tunec check ${output} looks at it`)
  return 0
}
