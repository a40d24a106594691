/** The canonical text of a program as lines that can be compared although passes renumber values. */
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'

export interface Line {
  /** Equal keys: the same place and words, whatever the numbers of values and the types. */
  readonly key: string
  /** `%12 = dot %11, %w`, and the types apart. */
  readonly left: string
  readonly right: string
  /** Numbers of the values an equation binds and reads, in order. */
  readonly binds: ReadonlyArray<string>
  readonly reads: ReadonlyArray<string>
  /** Where it stands: `layers.3.mlp backward`; empty at a function's head and end. */
  readonly place: string
}

export interface FnLines {
  readonly name: string
  readonly minimizes: boolean
  readonly lines: ReadonlyArray<Line>
}

export interface ProgramLines {
  readonly state: ReadonlyArray<Line>
  readonly fns: ReadonlyArray<FnLines>
}

const NUMBER = /%(\d+)(?![\w.])/g

/** Every number of a value replaced. */
export const renumber = (text: string, name: (id: string) => string): string =>
  text.replace(NUMBER, (_, id: string) => `%${name(id)}`)

const numbers = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(NUMBER)].map((m) => m[1]!)

/** Arena offsets say where a value lies, not what it is. */
const withoutOffsets = (type: string): string => type.replace(/ ?@\d+/g, '')

const lineOf = (raw: string, place: string): Line => {
  const [, before, after] = /^(.*?)\s+: (\S+\[.*)$/.exec(raw) ?? [raw, raw, '']
  const left = before!.trim()
  const right = withoutOffsets(after!)
  const [bound, rest] = /^(%\d[^=]*) = (.*)$/.exec(left)?.slice(1) ?? ['', left]
  return {
    key: `${place}|${renumber(left, () => '')}`,
    left,
    right,
    binds: numbers(bound!),
    reads: numbers(rest!),
    place,
  }
}

const fnLines = (text: ReadonlyArray<string>): FnLines => {
  const [head, ...body] = text
  const lines: Line[] = [lineOf(head!.trim(), '')]
  let place = ''
  for (const raw of body) {
    if (raw.startsWith('      %')) lines.push(lineOf(raw, place))
    else if (/^ {4}(update|return) /.test(raw)) lines.push(lineOf(raw, ''))
    else place = raw.trim().replace(/:$/, '')
  }
  return {
    name: /@(\S+?)\(/.exec(head!)![1]!,
    minimizes: / minimizes \S+ \{$/.test(head!),
    lines,
  }
}

/** Lines of the state and of each function. */
export const linesOf = (p: Program): ProgramLines => {
  const text = print(p).split('\n')
  const starts = text.flatMap((l, i) => (l.startsWith('  fn @') ? [i] : []))
  return {
    state: text.filter((l) => l.startsWith('  %')).map((l) => lineOf(l, '')),
    fns: starts.map((from) => fnLines(text.slice(from, text.indexOf('  }', from)))),
  }
}
