/** A subcommand as data: what `--help` shows, and where its code lies. */
import type { Terminal } from './terminal.ts'

/** 0: done; 1: a problem that was stated; 130: stopped by ctrl-C. Wrong usage is 2. */
export type Exit = 0 | 1 | 130

export type Options = Readonly<Record<string, unknown>>

export type Run = (argument: string, options: Options, t: Terminal) => Promise<Exit>

export interface Option {
  /** `--budget <size>`. */
  readonly flags: string
  readonly doc: string
  /** Text to value; throws nothing: undefined is refused with `expected`. */
  readonly read?: (text: string) => unknown
  readonly expected?: string
  readonly initial?: string
  readonly choices?: ReadonlyArray<string>
}

export interface Command {
  readonly name: string
  /** `<config>`; none for `doctor`. */
  readonly argument?: readonly [name: string, doc: string]
  readonly doc: string
  readonly options: ReadonlyArray<Option>
  readonly examples: ReadonlyArray<string>
  /** Imported when the command runs, never for `--help`. */
  readonly load: () => Promise<Run>
}

/** The value of an option that is text, or undefined. */
export const textOf = (o: Options, name: string): string | undefined => {
  const value = o[name]
  return typeof value === 'string' ? value : undefined
}

/** The value of an option that is a number, or undefined. */
export const numberOf = (o: Options, name: string): number | undefined => {
  const value = o[name]
  return typeof value === 'number' ? value : undefined
}

export const flagOf = (o: Options, name: string): boolean => o[name] === true
