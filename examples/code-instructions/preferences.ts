/**
 * Writes the CSV of the preference jobs: the instructions of `generate.ts`, each with its right answer and with one that
 * answers another instruction of its kind. `--labels`: one answer a row and whether it is the right one.
 * npx tsx examples/code-instructions/preferences.ts [--labels] > preferences.csv
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { kinds } from './kinds.ts'
import { random } from './random.ts'

const splits = [
  { split: 0, rows: 200 },
  { split: 1, rows: 40 },
  { split: 2, rows: 100 },
] as const
const SEED = 7

const cell = (text: string): string =>
  /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

interface Pair {
  readonly instruction: string
  readonly chosen: string
  readonly rejected: string
  readonly split: number
}

/** No two rows have one right answer. */
const pairs = (): ReadonlyArray<Pair> => {
  const rng = random(SEED)
  const seen = new Set<string>()
  return splits.flatMap(({ split, rows }) =>
    Array.from({ length: rows }, (_, i): Pair => {
      const kind = kinds[i % kinds.length]!
      for (;;) {
        const [asked, other] = [kind.ask(rng), kind.ask(rng)]
        if (seen.has(asked.output) || asked.output === other.output) continue
        seen.add(asked.output)
        return {
          instruction: asked.instruction,
          chosen: asked.output,
          rejected: other.output,
          split,
        }
      }
    }),
  )
}

const row = (...cells: ReadonlyArray<string | number>): string =>
  `${cells.map((c) => cell(String(c))).join(',')}\n`

/** Columns `instruction`, `chosen`, `rejected`, `split`. */
export const preferences = (): string =>
  [
    row('instruction', 'chosen', 'rejected', 'split'),
    ...pairs().map((p) => row(p.instruction, p.chosen, p.rejected, p.split)),
  ].join('')

/** Columns `instruction`, `response`, `label`, `split`; of each pair one answer. */
export const labels = (): string =>
  [
    row('instruction', 'response', 'label', 'split'),
    ...pairs().map((p, i) => {
      const good = Math.floor(i / kinds.length) % 2 === 0
      return row(p.instruction, good ? p.chosen : p.rejected, String(good), p.split)
    }),
  ].join('')

const script = process.argv[1]
if (script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url))
  process.stdout.write(process.argv.includes('--labels') ? labels() : preferences())
