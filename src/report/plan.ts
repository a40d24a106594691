/** A plan in words: what is trained on what, by which passes, in how much memory. */
import { inEightBits, type Compute, type Lora, type Quantize } from '../../passes/index.ts'
import { batchingOf } from '../plan/batch.ts'
import { sizesOf } from '../plan/dump.ts'
import { machineOf } from '../plan/machine.ts'
import type { Plan } from '../plan/plan.ts'
import { choiceLine, deviceLine } from './choice.ts'
import type { Style } from './style.ts'
import { table } from './table.ts'
import { count, plural, size } from './units.ts'

const dtypeNames: { readonly [D in Compute]: string } = {
  f32: '32-bit floats',
  f16: '16-bit floats (f16, with loss scaling)',
  bf16: '16-bit floats (bf16)',
  float8: '16-bit floats (bf16), frozen products in 8-bit ones (e4m3, a scale a row)',
}

const listed = (names: ReadonlyArray<string> | string): string =>
  typeof names === 'string' ? names : names.join(', ')
const saved = ({ save }: Pick<Lora, 'save'>): string =>
  save === undefined ? '' : ` and all of ${save.join(', ')}`

const loraWords = ({ init = 'default', bias = 'none', ...o }: Lora): ReadonlyArray<string> => [
  `r=${o.r} alpha=${o.alpha}`,
  ...(o.rslora === true ? ['rank-stabilized'] : []),
  ...(o.dora === true ? ['weight-decomposed'] : []),
  ...(init === 'default' ? [] : [`init=${init}`]),
  ...(o.dropout > 0 ? [`dropout=${o.dropout}`] : []),
  `on ${listed(o.targets)}`,
  ...(o.layers === undefined ? [] : [`of layers ${o.layers.join(', ')}`]),
  ...(o.save === undefined ? [] : [saved(o).trimStart()]),
  ...(bias === 'none' ? [] : [bias === 'all' ? 'and all biases' : 'and their biases']),
]

const adapterLine = ({ techniques: { lora, frozen } }: Plan): string =>
  frozen !== undefined
    ? 'nothing, the model is asked as it is'
    : lora === null
      ? 'every weight is trained'
      : lora.kind === 'ia3'
        ? `IA³ on ${listed(lora.targets)}, on the input of ${listed(lora.inputs)}${saved(lora)}`
        : `LoRA ${loraWords(lora).join(' ')}`

const codesOf = (q: Quantize): string =>
  inEightBits(q)
    ? `8-bit integers with a scale a row, products too` +
      (q.threshold === 0 ? '' : ` but for columns with values of ${q.threshold} or more`)
    : `NF4 in blocks of ${q.block}${q.nested === null ? '' : ', double'}`

const quantizeLine = ({ base, techniques: { quantize: q } }: Plan): string =>
  q === null
    ? 'not quantized'
    : `${codesOf(q)}${base.packed === null ? '' : ', as its files hold it'}` +
      (q.except === undefined ? '' : `; ${plural(q.except.length, 'weight')} in 16 bits`)

const recomputeLine = ({ techniques: { recompute: r } }: Plan): string =>
  r._tag === 'none'
    ? 'nothing is recomputed'
    : r._tag === 'layers'
      ? 'whole layers are recomputed in the backward'
      : `recomputed in the backward as far as ${size(r.bytes)} demand it`

/** How prompts are answered. */
const answerLine = ({ shapes: { generate: g } }: Plan): string =>
  g === null
    ? 'no prompts to answer'
    : `${plural(g.batch, 'prompt')} of at most ${plural(g.prompt, 'token')} at a time, ${plural(g.capacity, 'token')} with their answers`

const batchLine = (plan: Plan): string => {
  const { rows, length } = plan.shapes
  if (plan.techniques.frozen !== undefined) return answerLine(plan)
  const { batch, accumulation, effective } = batchingOf(plan.config.trainer, rows)
  const micro = `${plural(rows, 'row')} of ${plural(length, 'token')} a micro-step`
  return `${plural(effective, 'sample')} a step (batch_size ${batch} × ${accumulation}), ${micro}`
}

/** Why rows are so long, where neither data nor a key says it; null where one does. */
export const longRows = ({ config: c, base, data, shapes }: Plan): string | null => {
  const { dataset, row_length: length } = c.compiler
  const cap = c.preprocessing.global_max_sequence_length
  if (data !== null || length !== 'auto' || (cap !== null && cap <= base.spec.context)) return null
  const why =
    dataset === null ? 'no data is read' : 'without a tokenizer the data cannot be measured'
  return (
    `${plural(shapes.length, 'token')} are the whole context of the model, because ${why}; ` +
    'preprocessing.global_max_sequence_length shortens them'
  )
}

const pairs = (rows: ReadonlyArray<readonly [string, string]>, s: Style): ReadonlyArray<string> => {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `${s.bold(name.padEnd(width))}  ${text}`)
}

const memoryLine = (plan: Plan): string => {
  const beside = plan.totalBytes - plan.arenaBytes
  const context = beside === 0 ? '' : ` and ${size(beside)} for context and libraries`
  const backward = plan.techniques.frozen === undefined ? `; ${recomputeLine(plan)}` : ''
  return `${size(plan.arenaBytes)} in one arena${context}${backward}`
}

/** What the compiler decided, a line each. */
export const renderPlan = (plan: Plan, s: Style): ReadonlyArray<string> => {
  const { trainable } = sizesOf(plan.program)
  const { base } = plan
  const rows = longRows(plan)
  const [gpu, choice] = [deviceLine(plan), choiceLine(plan)]
  return pairs(
    [
      ['model', base.name + (base.folder === null ? ' (architecture only)' : '')],
      ['trained', `${adapterLine(plan)}: ${count(trainable)} parameters`],
      ['weights', quantizeLine(plan)],
      ['compute', dtypeNames[plan.techniques.compute]],
      ['batch', batchLine(plan)],
      ...(rows === null ? [] : [['rows', rows] as const]),
      ['memory', memoryLine(plan)],
      ...(gpu === null ? [] : [['gpu', gpu] as const]),
      ...(choice === null ? [] : [['chosen', choice] as const]),
    ],
    s,
  )
}

/** A line for every pass: what it did to the program, and how long it took. */
export const renderTrace = (plan: Plan, s: Style): ReadonlyArray<string> => {
  const rows = plan.trace.map((stage, i) => {
    const { equations, state, trainable } = sizesOf(stage.program)
    return [
      String(i).padStart(2, '0'),
      stage.pass,
      i === 0 ? '' : stage.keeps,
      count(equations),
      count(state),
      count(trainable),
      `${stage.took.toFixed(0)} ms`,
    ]
  })
  const [head, ...lines] = table(
    [
      { title: '', align: 'left' },
      { title: 'pass', align: 'left' },
      { title: 'keeps', align: 'left' },
      { title: 'equations', align: 'right' },
      { title: 'state', align: 'right' },
      { title: 'trainable', align: 'right' },
      { title: 'took', align: 'right' },
    ],
    rows,
  )
  return [s.dim(head!), ...lines]
}

/** What each function needs besides the state. */
export const renderFunctions = (
  { program, device, room }: Plan,
  s: Style,
): ReadonlyArray<string> => {
  const { peak } = machineOf(device, room)
  const [head, ...lines] = table(
    [
      { title: 'function', align: 'left' },
      { title: 'equations', align: 'right' },
      { title: 'peak of temporaries', align: 'right' },
    ],
    program.fns.map((f) => [`@${f.name}`, count(f.eqns.length), size(peak(program, f))]),
  )
  return [s.dim(head!), ...lines]
}
