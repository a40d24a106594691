/** Reads the text that `print` writes. Comments start with `//`. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Split } from './factors.ts'
import type {
  Encoding,
  AttrValue,
  Eqn,
  Fn,
  Id,
  Place,
  Program,
  Recipe,
  Role,
  Stage,
  State,
} from './graph.ts'
import { isOpName, opOf } from './ops/index.ts'
import type { Reason } from './reason.ts'
import { parseType, type TensorType } from './type.ts'
import { verify } from './verify.ts'

interface Line {
  readonly at: number
  readonly text: string
}

/** Carries a syntax error out of the recursive descent; caught by `parse` and nowhere else. */
const reject = (line: Line, why: string): never => {
  throw Object.assign(new Error(why), { line: line.at })
}
const match = (line: Line, pattern: RegExp, expected: string): RegExpExecArray =>
  pattern.exec(line.text) ?? reject(line, `expected ${expected}, got "${line.text}"`)

const typeAt = (line: Line, text: string): { type: TensorType; offset: number | undefined } => {
  const [type, offset, ...rest] = text.split('@')
  if (rest.length > 0 || (offset !== undefined && !/^\d+$/.test(offset.trim())))
    return reject(line, `"${text.trim()}" does not end in one offset such as @256`)
  return pipe(
    parseType(type!),
    E.match(
      (why) => reject(line, why),
      (t) => ({ type: t, offset: offset === undefined ? undefined : Number(offset) }),
    ),
  )
}

/** Splits at commas that are not inside brackets. */
const split = (text: string): ReadonlyArray<string> =>
  text.trim() === '' ? [] : text.split(/,\s*(?![^[]*\])/).map((s) => s.trim())

const numberIn = (line: Line, text: string): number => {
  const value = Number(text)
  return Number.isNaN(value) && text !== 'NaN' ? reject(line, `"${text}" is not a number`) : value
}

const stringIn = (line: Line, text: string): string =>
  pipe(
    E.tryCatch(() => JSON.parse(text) as unknown, String),
    E.match(
      (why) => reject(line, why),
      (key) => (typeof key === 'string' ? key : reject(line, 'a key is one string')),
    ),
  )

const parseRecipe = (line: Line, text: string): Recipe => {
  const encoder = /^(nf4|int8)\((.*)\)$/.exec(text)
  if (encoder !== null) return { _tag: encoder[1] as Encoding, of: parseRecipe(line, encoder[2]!) }
  if (text === 'kaiming') return { _tag: 'kaiming' }
  const [, word, number] = /^(fill|normal) (\S+)$/.exec(text) ?? []
  if (word === 'fill') return { _tag: 'fill', value: numberIn(line, number!) }
  if (word === 'normal') return { _tag: 'normal', deviation: numberIn(line, number!) }
  const norms = /^norms\((.*) : (.*)\)$/.exec(text)
  if (norms !== null) {
    const type = parseType(norms[2]!)
    if (E.isLeft(type)) return reject(line, type.left)
    return { _tag: 'norms', of: parseRecipe(line, norms[1]!), type: type.right }
  }
  const split = /^(pissa|olora) ([ABW]) r=(\d+) s=(\S+) \[(\d+), (\d+)\] (".*")$/.exec(text)
  if (split !== null) {
    const [, by, part, r, s, rows, columns, of] = split
    return {
      _tag: 'split',
      by: by as Split,
      part: part as 'A' | 'B' | 'W',
      of: stringIn(line, of!),
      shape: [Number(rows), Number(columns)],
      r: Number(r),
      scale: numberIn(line, s!),
    }
  }
  const orthogonal = /^orthogonal ([AB]) (".*")$/.exec(text)
  if (orthogonal !== null) {
    const [, part, of] = orthogonal
    return { _tag: 'orthogonal', part: part as 'A' | 'B', of: stringIn(line, of!) }
  }
  const load = /^load (".*")$/.exec(text)
  return load === null
    ? reject(line, `expected a recipe, got "${text}"`)
    : { _tag: 'load', key: stringIn(line, load[1]!) }
}

const roles: ReadonlyArray<string> = [
  'frozen',
  'held',
  'train',
  'gradient',
  'optimizer',
  'scaler',
  'cache',
]
const parseState = (line: Line): State => {
  const [, name, role, recipe, type] = match(
    line,
    /^%(\S+) = (\w+) (.*?)\s+: (\S+\[.*)$/,
    'a state tensor',
  )
  if (!roles.includes(role!)) reject(line, `no role "${role}"; there are ${roles.join(', ')}`)
  const { type: t, offset } = typeAt(line, type!)
  const state = { name: name!, role: role as Role, recipe: parseRecipe(line, recipe!), type: t }
  return offset === undefined ? state : { ...state, offset }
}

const parseAttr = (text: string): AttrValue => {
  if (text.startsWith('[')) return split(text.slice(1, -1)).map(Number)
  return text !== '' && !Number.isNaN(Number(text)) ? Number(text) : text === 'NaN' ? NaN : text
}

const parseAttrs = (line: Line, op: Eqn['op'], text: string | undefined): Eqn['attrs'] => {
  const raw = Object.fromEntries(
    split(text ?? '').map((a) => {
      const i = a.indexOf('=')
      return i < 0 ? [a, true] : [a.slice(0, i), parseAttr(a.slice(i + 1))]
    }),
  )
  const decoded = opOf(op).attrs.decode(raw)
  const known = E.isRight(decoded) ? Object.keys(decoded.right as Eqn['attrs']) : []
  return E.isRight(decoded) && Object.keys(raw).every((k) => known.includes(k))
    ? (decoded.right as Eqn['attrs'])
    : reject(line, `attributes {${text ?? ''}} do not fit ${op}`)
}

const names = (text: string): ReadonlyArray<string> => split(text).map((s) => s.replace(/^%/, ''))

const stages: ReadonlyArray<string> = ['backward', 'recompute', 'update']
const parseLabel = (text: string): Place => {
  const words = text.slice(0, -1).split(' ')
  const last = words.at(-1)!
  return stages.includes(last)
    ? { scope: words.slice(0, -1).join(' '), stage: last as Stage }
    : { scope: words.join(' '), stage: 'forward' }
}

const header = /^fn @(\S+?)\((.*)\)(?: minimizes (\S+))? \{$/

const parseFn = (lines: ReadonlyArray<Line>, states: ReadonlyMap<string, State>): Fn => {
  const [head, ...body] = lines
  const [, name, params, minimizes] = match(head!, header, 'fn @name(inputs) {')
  const ids = new Map<string, Id>()
  const offsets = new Map<Id, number>()
  const define = (n: string): Id => {
    ids.set(n, ids.size)
    return ids.size - 1
  }
  const inputs = split(params!).map((p) => {
    const [, n, type] = match({ at: head!.at, text: p }, /^%(\S+): (.*)$/, 'an input %name: type')
    const at = typeAt(head!, type!)
    const id = define(n!)
    if (at.offset !== undefined) offsets.set(id, at.offset)
    return { id, name: n!, type: at.type }
  })
  const reads: Array<{ id: Id; state: string }> = []
  const use = (line: Line, n: string): Id => {
    const known = ids.get(n)
    if (known !== undefined) return known
    if (!states.has(n)) reject(line, `%${n} is not defined`)
    reads.push({ id: define(n), state: n })
    return ids.size - 1
  }
  const eqns: Eqn[] = []
  const outs: Array<Fn['outs'][number]> = []
  const updates: Array<Fn['updates'][number]> = []
  let place: Place = { scope: '', stage: 'forward' }
  const equation = (line: Line): void => {
    const [, bound, op, args, attrs, types] = match(
      line,
      /^(%[^=]+) = (\w+)(?: (%[^{:]*?))?(?: \{(.*)\})?\s+: (.*)$/,
      'an equation',
    )
    if (!isOpName(op!)) return reject(line, `no op "${op}"`)
    const operands = names(args ?? '').map((a) => use(line, a))
    const typed = split(types!).map((t) => typeAt(line, t))
    const results = names(bound!).map((n) =>
      ids.has(n) ? reject(line, `%${n} is bound twice`) : define(n),
    )
    typed.forEach((t, i) => t.offset !== undefined && offsets.set(results[i]!, t.offset))
    eqns.push({
      outs: results,
      op,
      args: operands,
      attrs: parseAttrs(line, op, attrs),
      types: typed.map((t) => t.type),
      place,
    })
  }
  for (const line of body) {
    const end = /^(return|update) (\S+) = %(\S+)$/.exec(line.text)
    if (end?.[1] === 'return') outs.push({ name: end[2]!, id: use(line, end[3]!) })
    else if (end !== null) updates.push({ state: end[2]!.slice(1), id: use(line, end[3]!) })
    else if (/^[^%].*:$|^:$/.test(line.text)) place = parseLabel(line.text)
    else equation(line)
  }
  const fn = { name: name!, inputs, reads, eqns, outs, updates }
  const goal = minimizes === undefined ? fn : { ...fn, minimizes }
  return offsets.size === 0 ? goal : { ...goal, offsets }
}

const parseProgram = (lines: ReadonlyArray<Line>): Program => {
  const first = lines[0] ?? { at: 1, text: '' }
  const [, name] = match(first, /^program @(.+) \{$/, 'program @name {')
  const state: State[] = []
  const fns: Fn[] = []
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!
    if (line.text === '}')
      return i === lines.length - 1
        ? { name: name!, state, fns }
        : reject(lines[i + 1]!, 'text after the program')
    if (!line.text.startsWith('fn ')) {
      state.push(parseState(line))
      continue
    }
    const end = lines.findIndex((l, j) => j > i && l.text === '}')
    if (end < 0) reject(line, 'the function is not closed')
    fns.push(parseFn(lines.slice(i, end), new Map(state.map((s) => [s.name, s]))))
    i = end
  }
  return reject(lines.at(-1) ?? first, 'the program is not closed')
}

/** A comment runs from `//` to the end of the line, unless it stands inside a string. */
const uncommented = (text: string): string =>
  /^((?:"(?:[^"\\]|\\.)*"|[^"])*?)(?:^|\s)\/\/.*$/.exec(text)?.[1] ?? text

/** Text to a verified program. */
export const parse = (text: string): E.Either<Reason, Program> => {
  const lines = text
    .split('\n')
    .map((t, i) => ({ at: i + 1, text: uncommented(t).trim() }))
    .filter((l) => l.text !== '')
  try {
    return verify(parseProgram(lines))
  } catch (e) {
    if (e instanceof Error && 'line' in e)
      return E.left({ _tag: 'Syntax', line: e.line as number, why: e.message })
    throw e
  }
}
