/** `tunec serve` in this process, on any free port, with a tiny model whose tokens are bytes. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { runCommand } from '../src/cli/program.ts'
import { terminal } from '../src/cli/terminal.ts'
import { plain } from '../src/report/style.ts'
import { writeModel } from './effects-job.ts'

export const template = 'Q: {instruction} A:'

/** A config for a base that nothing has trained. */
export const writeJob = async (folder: string, prompt = template): Promise<string> => {
  await writeModel(path.join(folder, 'base'), 5)
  const file = path.join(folder, 'tiny.yaml')
  await fs.writeFile(
    file,
    [
      'model_type: llm',
      'base_model: base',
      `prompt: {template: ${JSON.stringify(prompt)}}`,
      'input_features: [{name: instruction, type: text}]',
      'output_features: [{name: output, type: text}]',
      'trainer: {type: finetune}',
      'generation: {max_new_tokens: 8, do_sample: false}',
      '',
    ].join('\n'),
  )
  return file
}

export interface Serving {
  readonly url: string
  readonly notes: ReadonlyArray<string>
  /** Asks it to stop, as ctrl-C does. */
  readonly interrupt: () => void
  /** Its exit code, once it has stopped. */
  readonly stopped: Promise<number>
}

export const serving = async (job: string, ...options: ReadonlyArray<string>): Promise<Serving> => {
  const notes: Array<string> = []
  let begun: (url: string) => void
  const url = new Promise<string>((resolve) => (begun = resolve))
  const stopped = runCommand(
    ['serve', job, '--port', '0', '--backend', 'reference', '--slots', '2', '--context', '64', ...options],
    {
      ...terminal(),
      out: (...lines) => {
        const found = /(http:\S+?):? POST/.exec(lines.join(' '))?.[1]
        if (found !== undefined) begun(found)
      },
      note: (...lines) => void notes.push(...lines),
      status: () => {},
      live: false,
      style: plain,
      noteStyle: plain,
    },
  ) // prettier-ignore
  const at = await Promise.race([url, stopped.then(() => null)])
  assert.ok(at !== null, notes.join('\n'))
  return { url: at, notes, stopped, interrupt: () => void process.kill(process.pid, 'SIGINT') }
}
