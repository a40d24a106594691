/**
 * What becomes of YAMLs in the form of those that Ludwig ships: `npx tsx scripts/ludwig-table.ts` reads
 * test/fixtures/ludwig and writes README.md beside them. Nothing is downloaded; a base model that is not known by its
 * name is also tried as one that is, so that what the rest of the file asks for is judged too.
 */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { parseConfig, type Config } from '../src/config/index.ts'
import type { Issue, Issues } from '../src/issue.ts'
import { planOf } from '../src/plan/plan.ts'

const folder = path.join(import.meta.dirname, '..', 'test', 'fixtures', 'ludwig')

/** Small, and known without its files. */
const STAND_IN = 'meta-llama/Llama-3.2-1B'

export type Outcome =
  | { readonly _tag: 'compiles' }
  | { readonly _tag: 'with another base'; readonly why: Issues }
  | { readonly _tag: 'refused'; readonly why: Issues }

const planned = (c: Config): E.Either<Issues, unknown> => planOf(c, { folder, clock: () => 0 })

const ofBase = (i: Issue): boolean => i.path === undefined || /base_model|model_name/.test(i.path)

const withBase = (text: string): string =>
  text
    .replace(/^base_model: .*$/m, `base_model: ${STAND_IN}`)
    .replace(/^( +)(base_model|pretrained_model_name_or_path): .*$/gm, `$1$2: ${STAND_IN}`)

const compiled = (text: string): E.Either<Issues, unknown> =>
  pipe(
    parseConfig(text, { file: 'job.yaml' }),
    E.chain(({ config }) => planned(config)),
  )

/** As a file stands, and where only its base is unknown here, with another. */
export const outcomeOf = (text: string): Outcome => {
  const first = compiled(text)
  if (E.isRight(first)) return { _tag: 'compiles' }
  const again = compiled(withBase(text))
  return E.isRight(again) && first.left.every(ofBase)
    ? { _tag: 'with another base', why: first.left }
    : { _tag: 'refused', why: E.isLeft(again) ? again.left : first.left }
}

/** Without the places of this machine that were looked in. */
const cell = (text: string): string =>
  text
    .replace(/[;:]? *looked in [^;|]*/g, '')
    .replaceAll('|', '\\|')
    .replace(/\s*\n\s*/g, '; ')

const reason = ({ message, path: at, hint }: Issue): string =>
  `${at === undefined || message.includes(at) ? '' : `\`${at}\`: `}${message}${hint === undefined ? '' : ` — ${hint}`}`

const rowOf = (name: string): readonly [outcome: Outcome['_tag'], line: string] => {
  const text = fs.readFileSync(path.join(folder, name), 'utf8')
  const form = /^# In the form of (.*)$/m.exec(text)?.[1] ?? ''
  const outcome = outcomeOf(text)
  const why = 'why' in outcome ? outcome.why.map(reason).map(cell).join('<br>') : ''
  return [outcome._tag, `| [${name}](${name}) | ${form} | ${outcome._tag} | ${why} |`]
}

const main = (): void => {
  const names = fs.readdirSync(folder).filter((n) => n.endsWith('.yaml'))
  const rows = names.toSorted().map(rowOf)
  const count = (tag: Outcome['_tag']): number => rows.filter(([is]) => is === tag).length
  const lines = [
    '# YAMLs in the form of those that Ludwig ships',
    '',
    `Made by \`npx tsx scripts/ludwig-table.ts\`. Of ${rows.length} files ${count('compiles')} compile as they stand, ${count('with another base')} once their base is a Llama, Mistral or Qwen2 model, and ${count('refused')} are refused by name.`,
    '',
    '| file | in the form of | | why |',
    '|---|---|---|---|',
    ...rows.map(([, line]) => line),
  ]
  fs.writeFileSync(path.join(folder, 'README.md'), `${lines.join('\n')}\n`)
  process.stdout.write(`${lines[2]}\n`)
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === import.meta.filename) main()
