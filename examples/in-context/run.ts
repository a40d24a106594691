/** The bundled model on the same held-out rows: asked as it is, shown similar rows, fine-tuned. `npx tsx examples/in-context/run.ts` */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { runCommand } from '../../src/cli/program.ts'
import { terminal } from '../../src/cli/terminal.ts'
import { table } from '../../src/report/table.ts'

const home = path.relative('.', import.meta.dirname)
const job = (name: string): string => path.join(home, '..', 'code-instructions', name)
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'in-context-'))
const quiet = { ...terminal(), out: () => {} }

const done = async (...args: ReadonlyArray<string>): Promise<void> => {
  const code = await runCommand(args, quiet)
  if (code !== 0) process.exit(code)
}

/** What `tunec predict` files about the test split. */
const measured = async (model: string, name: string): Promise<Readonly<Record<string, number>>> => {
  const to = path.join(work, name)
  await done('predict', model, '--split', 'test', '-o', to)
  const file = path.join(to, 'test_statistics.json')
  const all = JSON.parse(fs.readFileSync(file, 'utf8')) as { output: Record<string, number> }
  return all.output
}

const zero = await measured(path.join(home, 'zero-shot.yaml'), 'zero-shot')
const few = await measured(path.join(home, 'few-shot.yaml'), 'few-shot')
await done('train', job('qlora.yaml'), '--output-directory', work)
const tuned = await measured(path.join(work, 'experiment_run'), 'tuned')

const percent = (x: number | undefined): string => `${(100 * (x ?? NaN)).toFixed(1)} %`
const rows = Object.entries({ 'zero-shot': zero, 'few-shot, k = 4': few, 'fine-tuned': tuned })
process.stdout.write(
  `${table(
    [
      { title: '220 held-out rows', align: 'left' },
      ...['loss', 'token accuracy', 'exact match'].map((title) => ({
        title,
        align: 'right' as const,
      })),
    ],
    rows.map(([name, m]) => [
      name,
      m['loss']!.toFixed(3),
      percent(m['token_accuracy']),
      percent(m['exact_match']),
    ]),
  ).join('\n')}\n`,
)
fs.rmSync(work, { recursive: true, force: true })
