/** Canonical text of a program: values are renumbered in order, so equal text means equal programs. */
import type { AttrValue, Attrs, Eqn, Fn, Id, Program, Recipe, State } from './graph.ts'
import { show } from './type.ts'

/** A string on one line: JSON leaves the two Unicode line separators as they are. */
const string = (s: string): string =>
  JSON.stringify(s).replace(/[\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`)

export const showRecipe = (r: Recipe): string => {
  switch (r._tag) {
    case 'load':
      return `load ${string(r.key)}`
    case 'nf4':
    case 'int8':
      return `${r._tag}(${showRecipe(r.of)})`
    case 'fill':
      return `fill ${number(r.value)}`
    case 'kaiming':
      return 'kaiming'
    case 'normal':
      return `normal ${number(r.deviation)}`
    case 'split':
      return `${r.by} ${r.part} r=${r.r} s=${number(r.scale)} [${r.shape.join(', ')}] ${string(r.of)}`
    case 'norms':
      return `norms(${showRecipe(r.of)} : ${show(r.type)})`
    case 'orthogonal':
      return `orthogonal ${r.part} ${string(r.of)}`
  }
}

const number = (n: number): string => (Object.is(n, -0) ? '-0' : String(n))
const attr = (v: AttrValue): string =>
  typeof v === 'number'
    ? number(v)
    : typeof v === 'object'
      ? `[${v.map(number).join(', ')}]`
      : String(v)

/** `{eps=1e-5, tb}`: a flag prints by name when set, and not at all when not. */
export const showAttrs = (attrs: Attrs): string => {
  const set = Object.entries(attrs).flatMap(([k, v]) =>
    v === false ? [] : v === true ? [k] : [`${k}=${attr(v)}`],
  )
  return set.length === 0 ? '' : ` {${set.join(', ')}}`
}

const at = (offset: number | undefined): string => (offset === undefined ? '' : ` @${offset}`)

/** Aligns the types in a right-hand column, to scan shapes vertically. */
const column = (rows: ReadonlyArray<readonly [string, string | null]>): ReadonlyArray<string> => {
  const width = rows.reduce((w, [l, r]) => (r === null ? w : Math.max(w, l.length)), 0)
  return rows.map(([l, r]) => (r === null ? l : `${l.padEnd(width)} : ${r}`))
}

const stateRow = (s: State): readonly [string, string] => [
  `  %${s.name} = ${s.role} ${showRecipe(s.recipe)}`,
  show(s.type) + at(s.offset),
]

export const label = (e: Eqn): string =>
  `${e.place.scope}${e.place.stage === 'forward' ? '' : ` ${e.place.stage}`}:`

const namesOf = (f: Fn): ReadonlyMap<Id, string> => {
  const names = new Map<Id, string>()
  for (const i of f.inputs) names.set(i.id, `%${i.name}`)
  for (const r of f.reads) names.set(r.id, `%${r.state}`)
  for (const o of f.eqns.flatMap((e) => e.outs))
    names.set(o, `%${names.size - f.inputs.length - f.reads.length}`)
  return names
}

const printFn = (f: Fn): string => {
  const names = namesOf(f)
  const name = (id: Id): string => names.get(id) ?? `%?${id}`
  const rows: Array<readonly [string, string | null]> = []
  let last = ''
  for (const e of f.eqns) {
    const here = label(e)
    if (here !== last) rows.push([`    ${here}`, null])
    last = here
    const args = e.args.length === 0 ? '' : ` ${e.args.map(name).join(', ')}`
    const types = e.types.map((t, i) => show(t) + at(f.offsets?.get(e.outs[i]!)))
    rows.push([
      `      ${e.outs.map(name).join(', ')} = ${e.op}${args}${showAttrs(e.attrs)}`,
      types.join(', '),
    ])
  }
  const inputs = f.inputs
    .map((i) => `%${i.name}: ${show(i.type)}${at(f.offsets?.get(i.id))}`)
    .join(', ')
  return [
    `  fn @${f.name}(${inputs})${f.minimizes === undefined ? '' : ` minimizes ${f.minimizes}`} {`,
    ...column(rows),
    ...f.updates.map((u) => `    update %${u.state} = ${name(u.id)}`),
    ...f.outs.map((o) => `    return ${o.name} = ${name(o.id)}`),
    '  }',
  ].join('\n')
}

export const print = (p: Program): string =>
  [`program @${p.name} {`, ...column(p.state.map(stateRow)), ...p.fns.map(printFn), '}', ''].join(
    '\n',
  )
