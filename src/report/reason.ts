/** Why a pass or a text was refused, with the equations around the place. */
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'
import { showReason, type Reason } from '../../ir/reason.ts'
import type { PassError } from '../../passes/pass.ts'
import type { Style } from './style.ts'

const AROUND = 3

/** Lines around those from `at` on, which are marked. */
const windowOf = (
  lines: ReadonlyArray<string>,
  at: number,
  s: Style,
  marked = 1,
): ReadonlyArray<string> => {
  const first = Math.max(0, at - AROUND)
  const last = at + marked + AROUND
  const width = String(last).length
  return lines.slice(first, last).map((line, i) => {
    const here = first + i >= at && first + i < at + marked
    const margin = s.blue(`${here ? '>' : ' '} ${String(first + i + 1).padStart(width)} |`)
    return `${margin} ${here ? s.red(line.trimEnd()) : line.trimEnd()}`
  })
}

/** Lines of the canonical text that are the equations of a function, in order. */
const equationLines = (text: ReadonlyArray<string>, fn: string): ReadonlyArray<number> => {
  const start = text.findIndex((l) => l.startsWith(`  fn @${fn}(`))
  const end = text.findIndex((l, i) => i > start && l === '  }')
  return text.flatMap((l, i) => (i > start && i < end && l.startsWith('      %') ? [i] : []))
}

interface Spot {
  readonly line: number
  readonly marked: number
}

/** The verifier names an equation: `@fn %3 = dot`. */
const verified = (p: Program, at: string, text: ReadonlyArray<string>): Spot | null => {
  const [, fn, id, op] = /^@(\S+) %(\d+).* = (\S+)$/.exec(at) ?? []
  const f = p.fns.find((g) => g.name === fn)
  const eqn = f?.eqns.findIndex((e) => e.outs[0] === Number(id) && e.op === op) ?? -1
  const line = f === undefined ? undefined : equationLines(text, f.name)[eqn]
  return line === undefined ? null : { line, marked: 1 }
}

/** The builder names what it refused to make and where: `dot(…) in scope`. The scope's equations so far are marked. */
const built = (p: Program, at: string, text: ReadonlyArray<string>): Spot | null => {
  const [, scope] = /^\w+\(.*\) in (.+)$/.exec(at) ?? []
  for (const f of p.fns) {
    const first = f.eqns.findIndex((e) => e.place.scope === scope)
    if (first < 0) continue
    const next = f.eqns.findIndex((e, i) => i > first && e.place.scope !== scope)
    const line = equationLines(text, f.name)[first]!
    return { line, marked: (next < 0 ? f.eqns.length : next) - first }
  }
  return null
}

/** What a pass refused, in the program it was given: the equations concerned with three lines on either side. */
export const renderPassError = (e: PassError, s: Style): ReadonlyArray<string> => {
  const text = print(e.program).split('\n')
  const { reason, program } = e
  const spot =
    reason._tag === 'IllTyped'
      ? (verified(program, reason.at, text) ?? built(program, reason.at, text))
      : null
  return [
    `${s.red(s.bold('error:'))} ${s.bold(`the pass ${e.pass} refuses: ${showReason(reason)}`)}`,
    ...(spot === null ? [] : windowOf(text, spot.line, s, spot.marked)),
  ]
}

/** What is wrong with a text of IR: its line with three on either side. */
export const renderParseError = (r: Reason, text: string, s: Style): ReadonlyArray<string> => [
  `${s.red(s.bold('error:'))} ${s.bold(showReason(r))}`,
  ...(r._tag === 'Syntax' ? windowOf(text.split('\n'), r.line - 1, s) : []),
]
