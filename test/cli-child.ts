/** Runs the command: in this process on a terminal that remembers, or in a process of its own. */
import { execFile } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCommand } from '../src/cli/program.ts'
import { plain } from '../src/report/style.ts'
import { terminal } from '../src/cli/terminal.ts'

// Commands are tested as on a machine without a GPU: what they say and plan must not depend on a card.
process.env['CUDA_VISIBLE_DEVICES'] = ''
// Nor on a network.
process.env['HF_HUB_OFFLINE'] = '1'

const root = fileURLToPath(new URL('..', import.meta.url))

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** The command without a process: its arguments, exit code and lines. */
export const here = async (...args: ReadonlyArray<string>): Promise<Ran> => {
  const [out, err]: [string[], string[]] = [[], []]
  const code = await runCommand(args, {
    ...terminal(),
    out: (...lines) => void out.push(...lines, ''),
    note: (...lines) => void err.push(...lines, ''),
    status: () => {},
    live: false,
    style: plain,
    noteStyle: plain,
  })
  const text = (parts: ReadonlyArray<string>) => parts.join('\n').replaceAll(`${root}`, '')
  return { code, out: text(out), err: text(err) }
}

export const child = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = { NO_COLOR: '1' },
): Promise<Ran> =>
  new Promise((resolve) => {
    const options = { cwd: root, env: { ...process.env, ...env }, maxBuffer: 1 << 26 }
    const started = execFile(
      process.execPath,
      ['--import', 'tsx', ...args],
      options,
      (e, out, err) => resolve({ code: e === null ? 0 : (started.exitCode ?? -1), out, err }),
    )
  })

/** A fresh folder, removed when `body` ends. */
export const inFolder = async <T>(body: (folder: string) => Promise<T>): Promise<T> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-'))
  try {
    return await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

const base = path.join(root, 'examples/code-instructions/base')

/** The bundled base without its weights, and a few rows: enough to plan a job and to check it. */
export const smallJob = async (folder: string, more = ''): Promise<string> => {
  await fs.mkdir(path.join(folder, 'base'))
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    await fs.copyFile(path.join(base, name), path.join(folder, 'base', name))
  const rows = Array.from({ length: 12 }, (_, i) => `Add ${i} to ${i},${2 * i}`)
  await fs.writeFile(path.join(folder, 'data.csv'), `instruction,output\n${rows.join('\n')}\n`)
  const file = path.join(folder, 'job.yaml')
  await fs.writeFile(
    file,
    [
      'model_type: llm',
      'base_model: base',
      'quantization: {bits: 4}',
      'adapter: {type: lora, dropout: 0}',
      'input_features: [{name: instruction, type: text}]',
      'output_features: [{name: output, type: text}]',
      'trainer: {type: finetune, epochs: 1, learning_rate: 0.001}',
      'generation: {max_new_tokens: 8}',
      'compiler:',
      '  dataset: data.csv',
      ...(more === '' ? [] : [`  ${more}`]),
      '',
    ].join('\n'),
  )
  return file
}
