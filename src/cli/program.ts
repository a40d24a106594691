/** Arguments to a subcommand, a subcommand to an exit code. */
import fs from 'node:fs'
import { Command as Commander, CommanderError, Option as Flag } from 'commander'
import type { Command, Exit, Option, Options } from './command.ts'
import { commands } from './commands.ts'
import { namesFor, translate } from './ludwig/translate.ts'
import type { Terminal } from './terminal.ts'

const USAGE = 2

/** The package's own version, from the nearest package.json that is ours. */
const version = (): string => {
  for (const up of ['../../', '../../../']) {
    const file = new URL(`${up}package.json`, import.meta.url)
    if (!fs.existsSync(file)) continue
    const { name, version: v } = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, string>
    if (name === 'tunec' && v !== undefined) return v
  }
  return 'unknown'
}

const flag = (o: Option): Flag => {
  const made = new Flag(o.flags, o.doc)
  if (o.initial !== undefined) made.default(o.initial)
  if (o.choices !== undefined) made.choices(o.choices)
  const { read } = o
  if (read !== undefined)
    made.argParser((text: string) => {
      const value = read(text)
      if (value !== undefined) return value
      throw new CommanderError(
        USAGE,
        'tunec.argument',
        `error: option '${o.flags}' is ${JSON.stringify(text)}, expected ${o.expected ?? 'something else'}`,
      )
    })
  return made
}

const invocation = (t: Terminal, c: Command, done: (exit: Exit) => void) => {
  const act = async (argument: string, options: Options): Promise<void> =>
    done(await (await c.load())(argument, options, t))
  return c.argument === undefined
    ? (options: Options) => act('', options)
    : (argument: string, options: Options) => act(argument, options)
}

const subcommand = (root: Commander, t: Terminal, c: Command, done: (exit: Exit) => void): void => {
  const sub = root.command(c.name).description(c.doc).copyInheritedSettings(root)
  if (c.argument !== undefined) sub.argument(`<${c.argument[0]}>`, c.argument[1])
  for (const o of c.options) sub.addOption(flag(o))
  const shown = c.examples.map((e) => `  $ tunec ${e}`)
  sub.addHelpText('after', `\n${shown.length > 1 ? 'Examples' : 'Example'}:\n${shown.join('\n')}`)
  const names = namesFor(c.name)
  if (names !== null) sub.addHelpText('after', `\nLudwig's names are taken too: ${names}`)
  sub.showHelpAfterError(`(tunec ${c.name} --help shows what there is)`)
  sub.action(invocation(t, c, done))
}

const program = (t: Terminal, done: (exit: Exit) => void): Commander => {
  const root = new Commander('tunec')
    .description('fine-tunes a language model from a Ludwig-style YAML, inside a memory budget')
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => t.out(text.trimEnd()),
      writeErr: (text) => t.note(text.trimEnd()),
    })
    .showHelpAfterError('(--help shows what there is)')
    .addHelpText('after', '\nExample:\n  $ tunec train examples/code-instructions/qlora.yaml')
  for (const c of commands) subcommand(root, t, c, done)
  return root
}

/** Commander has shown help or what is wrong already; our own refusals are shown here. */
const usage = (e: CommanderError, t: Terminal): number => {
  if (e.code === 'tunec.argument') t.note(e.message)
  return e.exitCode === 0 ? 0 : USAGE
}

/** What nobody expected is our fault, and says so. */
const bug = (e: unknown, t: Terminal): number => {
  const message = e instanceof Error ? e.message : String(e)
  t.note(
    `${t.noteStyle.red('this is a bug in tunec:')} ${message.split('\n')[0]}`,
    'please report it with the command and the config; DEBUG=1 shows where it happened',
  )
  if (process.env['DEBUG'] === '1' && e instanceof Error) t.note(e.stack ?? '')
  return 1
}

/** Runs the command that the arguments after `tunec` name. Gives the exit code: 0 done, 1 a problem, 2 wrong usage. */
export const runCommand = async (args: ReadonlyArray<string>, t: Terminal): Promise<number> => {
  let exit: number = 0
  const root = program(t, (e) => (exit = e))
  const said = translate(args)
  if (said.refused !== null) return (t.note(`error: ${said.refused}`), USAGE)
  for (const note of said.notes) t.note(`${t.noteStyle.yellow('note:')} ${note}`)
  try {
    await root.parseAsync(args.length === 0 ? ['--help'] : [...said.args], { from: 'user' })
    return exit
  } catch (e) {
    t.status(null)
    return e instanceof CommanderError ? usage(e, t) : bug(e, t)
  }
}
