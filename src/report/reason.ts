/** Why a pass or a text was refused, with the equations around the place. */
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'
import { showReason, type Reason } from '../../ir/reason.ts'
import type { PassError } from '../../passes/pass.ts'
import type { Style } from './style.ts'

const AROUND = 3

/** Lines around one, which is marked. */
const windowOf = (lines: ReadonlyArray<string>, at: number, s: Style): ReadonlyArray<string> => {
  const first = Math.max(0, at - AROUND)
  const width = String(at + AROUND + 1).length
  return lines.slice(first, at + AROUND + 1).map((line, i) => {
    const here = first + i === at
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
  readonly fn: string
  readonly eqn: number
}

/** The equation a message is about: `@fn %3 = dot` as the verifier says, `dot(…) in scope` as the builder does. */
const spotOf = (p: Program, at: string): Spot | null => {
  const [, named, id, verified] = /^@(\S+) %(\d+).* = (\S+)$/.exec(at) ?? []
  const [, built, scope] = /^(\w+)\(.*\) in (.*)$/.exec(at) ?? []
  for (const f of p.fns) {
    if (named !== undefined && f.name !== named) continue
    const eqn = f.eqns.findIndex((e) =>
      named !== undefined
        ? e.outs[0] === Number(id) && e.op === verified
        : e.op === built && e.place.scope === scope,
    )
    if (eqn >= 0) return { fn: f.name, eqn }
  }
  return null
}

/** Line of a program's canonical text that a reason is about, or null. */
const lineOf = (r: Reason, p: Program, text: ReadonlyArray<string>): number | null => {
  if (r._tag !== 'IllTyped') return null
  const spot = spotOf(p, r.at)
  return spot === null ? null : (equationLines(text, spot.fn)[spot.eqn] ?? null)
}

/** What a pass refused, in the program it was given: the equation concerned with three lines on either side. */
export const renderPassError = (e: PassError, s: Style): ReadonlyArray<string> => {
  const text = print(e.program).split('\n')
  const line = lineOf(e.reason, e.program, text)
  return [
    `${s.red(s.bold('error:'))} ${s.bold(`the pass ${e.pass} refuses: ${showReason(e.reason)}`)}`,
    ...(line === null ? [] : windowOf(text, line, s)),
  ]
}

/** What is wrong with a text of IR: its line with three on either side. */
export const renderParseError = (r: Reason, text: string, s: Style): ReadonlyArray<string> => [
  `${s.red(s.bold('error:'))} ${s.bold(showReason(r))}`,
  ...(r._tag === 'Syntax' ? windowOf(text.split('\n'), r.line - 1, s) : []),
]
