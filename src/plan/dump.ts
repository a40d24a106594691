/** The trace on paper: one file of IR a stage, and what changed between two. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'
import { size } from '../../ir/type.ts'
import { shortName, type Stage } from '../../passes/pass.ts'
import { issue, type Issue } from '../issue.ts'
import { count } from '../report/units.ts'
import { diffPrograms } from './diff.ts'

export interface Sizes {
  readonly equations: number
  /** Tensors kept between calls. */
  readonly state: number
  /** Numbers that training changes. */
  readonly trainable: number
}

export const sizesOf = (p: Program): Sizes => ({
  equations: p.fns.reduce((n, f) => n + f.eqns.length, 0),
  state: p.state.length,
  trainable: p.state.filter((s) => s.role === 'train').reduce((n, s) => n + size(s.type), 0),
})

const change = (name: string, before: number | undefined, after: number): string =>
  `${name} ${before === undefined || before === after ? '' : `${count(before)}→`}${count(after)}`

/** `01 lora(r=8, …)  keeps meaning  equations 4→10  state 3→5  trainable 0→131,072`. */
export const stageTitle = (trace: ReadonlyArray<Stage>, i: number): string => {
  const [stage, last] = [trace[i]!, trace[i - 1]]
  const now = sizesOf(stage.program)
  const was = last === undefined ? undefined : sizesOf(last.program)
  return [
    `${String(i).padStart(2, '0')} ${stage.pass}`,
    ...(last === undefined ? [] : [`keeps ${stage.keeps}`]),
    change('equations', was?.equations, now.equations),
    change('state', was?.state, now.state),
    change('trainable', was?.trainable, now.trainable),
  ].join('  ')
}

/** `01-lora.ir`. */
export const stageFile = (trace: ReadonlyArray<Stage>, i: number): string =>
  `${String(i).padStart(2, '0')}-${shortName(trace[i]!.pass)}.ir`

/** The IR of a stage below its title, which the parser skips. */
export const stageText = (trace: ReadonlyArray<Stage>, i: number): string =>
  `// ${stageTitle(trace, i)}\n${print(trace[i]!.program)}`

/** Writes `00-forward.ir`, `01-lora.ir`, … into a folder, made if need be. */
export const writeTrace = (
  trace: ReadonlyArray<Stage>,
  folder: string,
): TE.TaskEither<Issue, void> =>
  TE.tryCatch(
    async () => {
      await fs.mkdir(folder, { recursive: true })
      for (const i of trace.keys())
        await fs.writeFile(path.join(folder, stageFile(trace, i)), stageText(trace, i))
    },
    (e) =>
      issue(`the IR cannot be written: ${e instanceof Error ? e.message : String(e)}`, {
        file: folder,
      }),
  )

export interface Paint {
  readonly added: (line: string) => string
  readonly removed: (line: string) => string
  readonly heading: (line: string) => string
}

const unpainted: Paint = { added: (l) => l, removed: (l) => l, heading: (l) => l }

/** What the second program has that the first has not, and the other way round; empty when they are equal. */
export const diffStages = (before: Program, after: Program, paint: Paint = unpainted): string =>
  pipe(
    diffPrograms(before, after).map(({ mark, text }) => {
      if (mark === '@') return paint.heading(`@ ${text}`)
      const line = `${mark}   ${text}`
      return mark === '+' ? paint.added(line) : mark === '-' ? paint.removed(line) : line
    }),
    (lines) => (lines.length === 0 ? '' : `${lines.join('\n')}\n`),
  )
