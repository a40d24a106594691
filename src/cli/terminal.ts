/** The process's own terminal: everything a command shows goes through here. */
import fs from 'node:fs'
import { coloured, emphasis, plain, type Style } from '../report/style.ts'
import { visible, visibleStyled } from '../report/visible.ts'

export interface Terminal {
  /** Results, on standard output. */
  readonly out: (...lines: ReadonlyArray<string>) => void
  /** What a person should know besides, on standard error. */
  readonly note: (...lines: ReadonlyArray<string>) => void
  /** One line that is drawn over itself; null removes it. Nothing where standard error is no terminal. */
  readonly status: (line: string | null) => void
  /** Whether `status` shows anything. */
  readonly live: boolean
  readonly columns: number
  /** For standard output, and for standard error. */
  readonly style: Style
  readonly noteStyle: Style
  /** Milliseconds. */
  readonly clock: () => number
  /** Text of a file, for showing the line of a problem. */
  readonly source: (file: string) => string | undefined
}

const styleFor = (stream: NodeJS.WriteStream): Style => {
  const { NO_COLOR: none, FORCE_COLOR: force, TERM: term } = process.env
  if (none !== undefined && none !== '') return plain
  if (force !== undefined && force !== '' && force !== '0') return coloured
  return stream.isTTY && term !== 'dumb' ? coloured : plain
}

const source = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Lines are cut to the terminal's width while they are redrawn. */
export const terminal = (): Terminal => {
  const { stdout, stderr } = process
  const live = stderr.isTTY && process.env['TERM'] !== 'dumb'
  let drawn = false
  const erase = (): void => {
    if (drawn) stderr.write('\r\u001b[2K')
    drawn = false
  }
  const [style, noteStyle] = [styleFor(stdout), styleFor(stderr)]
  const shown = (text: string, s: Style): string =>
    s === coloured ? visibleStyled(text, emphasis) : visible(text)
  const write = (stream: NodeJS.WriteStream, lines: ReadonlyArray<string>, s: Style): void => {
    erase()
    if (lines.length > 0) stream.write(`${shown(lines.join('\n'), s)}\n`)
  }
  return {
    out: (...lines) => write(stdout, lines, style),
    note: (...lines) => write(stderr, lines, noteStyle),
    status: (line) => {
      if (!live) return
      erase()
      if (line === null) return
      stderr.write(visible(line.replaceAll('\n', ' ')).slice(0, (stderr.columns || 80) - 1))
      drawn = true
    },
    live,
    columns: stdout.columns || 100,
    style,
    noteStyle,
    clock: () => performance.now(),
    source,
  }
}
