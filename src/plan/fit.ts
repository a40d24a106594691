/** Whether a plan fits a budget and, when it does not, which changes to the config would make it fit: each compiled for real. */
import * as E from 'fp-ts/lib/Either.js'
import { parseDocument } from 'yaml'
import { stateBytes } from '../../passes/memory.ts'
import { parseConfig, renderConfig, type Config } from '../config/index.ts'
import { issue, type Issue } from '../issue.ts'
import { size, written } from '../report/units.ts'
import { chosenFor } from './choose.ts'
import { machineOf } from './machine.ts'
import type { Plan } from './plan.ts'

/** A way to need less. */
export interface Change {
  /** Keys of the config and their new values: `quantization: {bits: 4}`. */
  readonly write: ReadonlyArray<string>
  /** Bytes of the plan with it. */
  readonly total: number
  readonly fits: boolean
}

export interface Fit {
  /** Bytes. */
  readonly budget: number
  readonly total: number
  readonly fits: boolean
  /** Each change alone; empty when the plan fits. */
  readonly single: ReadonlyArray<Change>
  /** Several together, where none alone is enough: as few as fit, or all of them. */
  readonly together: Change | null
}

interface Move {
  readonly write: ReadonlyArray<string>
  readonly edits: ReadonlyArray<readonly [path: ReadonlyArray<string>, value: unknown]>
  /** Shrinks what is kept between calls, so that it may help where the weights alone are too large. */
  readonly state: boolean
}

const SHORTEST = 128

/** What a config can still do, the gentlest first. */
const movesOf = (plan: Plan, budget: number): ReadonlyArray<Move> => {
  const { adapter, quantization } = plan.config
  const { recompute, compute, frozen } = plan.techniques
  const trains = frozen === undefined
  const lora = trains && adapter === null ? [[['adapter'], { type: 'lora' }] as const] : []
  const move = (
    wanted: boolean,
    state: boolean,
    write: ReadonlyArray<string>,
    ...edits: Move['edits']
  ): ReadonlyArray<Move> => (wanted ? [{ write, edits, state }] : [])
  const add = { lora: 'adapter: {type: lora}', nf4: 'quantization: {bits: 4}' }
  return [
    ...move(
      trains && recompute._tag !== 'layers' && (plan.budget ?? Infinity) > budget,
      false,
      [`compiler.memory_budget: ${written(budget)}`],
      [['compiler', 'memory_budget'], budget],
      [['compiler', 'recompute'], 'auto'],
    ),
    ...move(
      trains && recompute._tag === 'none',
      false,
      ['trainer.enable_gradient_checkpointing: true'],
      [['trainer', 'enable_gradient_checkpointing'], true],
      [['compiler', 'recompute'], 'auto'],
    ),
    ...move(
      plan.shapes.rows > 1,
      false,
      ['compiler.micro_batch_rows: 1'],
      [['compiler', 'micro_batch_rows'], 1],
    ),
    ...move(
      compute === 'f32',
      true,
      ['compiler.compute_dtype: bfloat16'],
      [['compiler', 'compute_dtype'], 'bfloat16'],
    ),
    ...move(trains && adapter === null, true, [add.lora], ...lora),
    ...move(
      quantization === null,
      true,
      trains && adapter === null ? [add.lora, add.nf4] : [add.nf4],
      ...lora,
      [['quantization'], { bits: 4 }],
    ),
    ...move(
      quantization?.bits === 8,
      true,
      ['quantization.bits: 4'],
      [['quantization', 'bits'], 4],
    ),
  ]
}

/** Rows are no longer than the longest sample kept, so capping samples is what a person writes. */
const shorter = (length: number): Move => ({
  write: [`preprocessing.global_max_sequence_length: ${length}`],
  state: false,
  edits: [
    [['preprocessing', 'global_max_sequence_length'], length],
    [['compiler', 'row_length'], length],
  ],
})

const lengthsBelow = (length: number): ReadonlyArray<number> => {
  const list: number[] = []
  for (let n = length >> 1; n >= SHORTEST; n >>= 1) list.push(n)
  return list
}

/** The config with edits made, as if they stood in its file; undefined where they do not go with the rest. */
const edited = (c: Config, edits: Move['edits']): Config | undefined => {
  const doc = parseDocument(renderConfig(c))
  for (const [path, value] of edits) doc.setIn(path, doc.createNode(value))
  const parsed = parseConfig(doc.toString(), { file: '' })
  return E.isRight(parsed) ? parsed.right.config : undefined
}

/** Bytes that a plan takes whose config has other values. */
const totalWith = (plan: Plan, edits: Move['edits']): number | undefined => {
  const config = edited(plan.config, edits)
  if (config === undefined) return undefined
  const { base, pretrained, data, device } = plan
  const said = config.compiler.memory_budget
  const made = chosenFor({
    config,
    base,
    pretrained,
    data,
    machine: machineOf(device),
    // What a GPU has free was asked once, when the plan was made.
    budget: said === 'auto' ? plan.budget : said,
    clock: () => 0,
  })
  return E.isRight(made) ? made.right.totalBytes : undefined
}

const tried = (plan: Plan, budget: number, moves: ReadonlyArray<Move>): ReadonlyArray<Change> => {
  const total = totalWith(
    plan,
    moves.flatMap((m) => m.edits),
  )
  return total === undefined
    ? []
    : [{ write: [...new Set(moves.flatMap((m) => m.write))], total, fits: total <= budget }]
}

/** The longest rows that fit with these changes made. */
const longestThatFits = (
  plan: Plan,
  budget: number,
  made: ReadonlyArray<Move>,
): ReadonlyArray<Change> => {
  for (const length of lengthsBelow(plan.shapes.length)) {
    const change = tried(plan, budget, [...made, shorter(length)])
    if (change.some((c) => c.fits)) return change
  }
  return []
}

/** Planning under a budget recomputes and halves rows of itself. */
const withoutImplied = (moves: ReadonlyArray<Move>): ReadonlyArray<Move> =>
  moves.some((m) => m.write[0]!.startsWith('compiler.memory_budget'))
    ? moves.filter((m) => !/checkpointing|micro_batch_rows/.test(m.write[0]!))
    : moves

/** Adds one change after another until the plan fits. */
const combined = (plan: Plan, budget: number, moves: ReadonlyArray<Move>): Change | null => {
  const made: Move[] = []
  let last: Change | null = null
  for (const move of withoutImplied(moves)) {
    made.push(move)
    const [change] = tried(plan, budget, made)
    if (change === undefined) made.pop()
    else last = change
    if (change?.fits === true) return change
  }
  return longestThatFits(plan, budget, made)[0] ?? last
}

/** Compares with a budget in bytes; compiles variants only when it is exceeded. */
export const fitOf = (plan: Plan, budget: number): Fit => {
  const total = plan.totalBytes
  if (total <= budget) return { budget, total, fits: true, single: [], together: null }
  const stateFits = stateBytes(plan.program) <= budget
  const moves = movesOf(plan, budget)
  const useful = moves.filter((m) => stateFits || m.state)
  const single = [
    ...useful.flatMap((m) => tried(plan, budget, [m])),
    ...(stateFits ? longestThatFits(plan, budget, []) : []),
  ].filter((c) => c.total < total)
  const together = single.some((c) => c.fits) ? null : combined(plan, budget, moves)
  return { budget, total, fits: false, single, together }
}

const said = (c: Change): string => `${c.write.join(', ')}  (${size(c.total)})`

const hintOf = ({ single, together }: Fit): string => {
  const enough = single.filter((c) => c.fits)
  if (enough.length > 0) return ['any one of these makes it fit:', ...enough.map(said)].join('\n')
  if (together?.fits === true) return `together these make it fit:\n${said(together)}`
  return together === null
    ? 'a smaller model is needed'
    : `a smaller model is needed; even together these are not enough:\n${said(together)}`
}

/** The plan does not fit, and what to do about it; null when it does. */
export const fitIssue = (fit: Fit): Issue | null =>
  fit.fits
    ? null
    : issue(`the plan needs ${size(fit.total)}, the budget is ${size(fit.budget)}`, {
        hint: hintOf(fit),
      })
