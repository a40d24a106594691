/** A command line in Ludwig's words to one in ours; in our words it stays as it is. */
import fs from 'node:fs'
import path from 'node:path'
import { descriptionName } from '../../train/names.ts'
import { rulesOf, type Rule } from './rules.ts'

export interface Translated {
  readonly args: ReadonlyArray<string>
  /** What was said in vain. */
  readonly notes: ReadonlyArray<string>
  /** Why the line cannot be followed; null: it can. */
  readonly refused: string | null
}

/** Ludwig writes underscores where we write dashes. */
const dashed = (name: string): string => (name.startsWith('--') ? name.replaceAll('_', '-') : name)

const isOption = (arg: string): boolean => /^-[-a-zA-Z]/.test(arg)

/** Ludwig names the folder `model` inside of the results. */
const resultsOf = (name: string): string => {
  const trimmed = name.replace(/[/\\]+$/, '')
  const around = path.dirname(trimmed)
  const inside = path.basename(trimmed) === 'model'
  return inside && fs.existsSync(path.join(around, descriptionName)) ? around : name
}

const ruleFor = (rules: ReadonlyArray<Rule>, name: string): Rule | undefined =>
  rules.find((r) => r.names.includes(name))

/** The values behind an option, and how many arguments they were. */
const valuesOf = (
  rule: Rule,
  rest: ReadonlyArray<string>,
  joined: string | undefined,
): readonly [values: ReadonlyArray<string>, taken: number] => {
  if (joined !== undefined) return [[joined], 0]
  if (rule.takes === 'none') return [[], 0]
  if (rule.takes === 'one') return [rest.slice(0, 1), Math.min(1, rest.length)]
  const end = rest.findIndex(isOption)
  const all = rest.slice(0, end < 0 ? rest.length : end)
  return [all, all.length]
}

/** Commands that Ludwig names with an underscore. */
const commandOf = (name: string): string =>
  name.startsWith('-') ? name : name.replaceAll('_', '-')

export const translate = (line: ReadonlyArray<string>): Translated => {
  const [first = '', ...given] = line
  const command = commandOf(first)
  const rules = rulesOf(command)
  if (rules.length === 0) return { args: line, notes: [], refused: null }
  // `upload hf_hub …`: the one place to upload to.
  const rest = command === 'upload' && given[0] === 'hf_hub' ? given.slice(1) : given
  const [args, notes]: [Array<string>, Array<string>] = [[], []]
  let argument: string | null = null
  for (let i = 0; i < rest.length; i++) {
    const [name = '', ...after] = rest[i]!.startsWith('--') ? rest[i]!.split('=') : [rest[i]!]
    const joined = after.length === 0 ? undefined : after.join('=')
    const rule = isOption(name) ? ruleFor(rules, name) : undefined
    if (rule === undefined) {
      args.push(joined === undefined ? dashed(name) : `${dashed(name)}=${joined}`)
      continue
    }
    const [values, taken] = valuesOf(rule, rest.slice(i + 1), joined)
    i += taken
    const { does } = rule
    if (does._tag === 'refused')
      return { args: line, notes, refused: `Ludwig's ${name} is not taken here: ${does.hint}` }
    if (does._tag === 'idle') notes.push(`Ludwig's ${name} changes nothing here: ${does.why}`)
    else if (does._tag === 'argument') argument = resultsOf(values[0] ?? '')
    else args.push(does.option, ...said(rule, values))
  }
  return {
    args: [command, ...(argument === null ? [] : [argument]), ...args],
    notes,
    refused: null,
  }
}

const said = (rule: Rule, values: ReadonlyArray<string>): ReadonlyArray<string> =>
  rule.takes === 'none' || values.length === 0
    ? []
    : [values.map((v) => rule.words?.[v] ?? v).join(',')]

/** Ludwig's names of a command's options, for its help; null: there are none of its own. */
export const namesFor = (command: string): string | null => {
  const own = rulesOf(command)
    .filter(({ does }) => does._tag === 'is' || does._tag === 'argument')
    .map((r) => r.names.join(', '))
  return own.length === 0 ? null : own.join('; ')
}
