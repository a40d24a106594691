/** Does what a hint says to a config, by its words alone: `did you mean`, `leave it out`, `write …`, `add …`, `set …`. */
import { parse as readYaml } from 'yaml'
import type { Issue } from '../src/issue.ts'

export type Doc = Readonly<Record<string, unknown>>
type Path = ReadonlyArray<string>

const keysOf = (dotted: string): Path => dotted.split(/\.|\[(\d+)\]\.?/).filter((k) => k)

export const get = (doc: unknown, path: Path): unknown =>
  path.reduce<unknown>((at, key) => (at as Doc | undefined)?.[key], doc)

/** A copy with `value` at the path; undefined removes the key. */
export const put = (doc: unknown, [key, ...rest]: Path, value: unknown): unknown => {
  if (key === undefined) return value
  if (Array.isArray(doc))
    return doc.map((x: unknown, i) => (String(i) === key ? put(x, rest, value) : x))
  const { [key]: old, ...others } = (doc ?? {}) as Doc
  const made = put(old, rest, value)
  return made === undefined ? others : { ...others, [key]: made }
}

/** Sections named in full in hints; any other key stands beside the one that the issue is about. */
const top = new Set(
  'model_type base_model input_features output_features prompt preprocessing adapter quantization model_parameters trainer generation compiler'.split(
    ' ',
  ),
)
const absolute = (said: string, beside: Path): Path => {
  const path = keysOf(said)
  return top.has(path[0]!) ? path : [...beside, ...path]
}

const merged = (old: unknown, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && typeof old === 'object'
    ? { ...(old as Doc), ...(value as Doc) }
    : value

/** `k: v` as a value at `k`; maps keep what else they hold. */
const written = (doc: unknown, snippet: string, beside: Path): unknown => {
  const [, key, rest] = /^([\w.]+): (.*)$/s.exec(snippet)!
  const path = absolute(key!, beside)
  return put(doc, path, merged(get(doc, path), readYaml(rest!)))
}

const SNIPPET = /`([\w.]+: [^`]*)`/

/** What a hint asks for besides its beginning. */
const besides = (doc: unknown, hint: string, beside: Path): unknown => {
  const set = /, and set `([\w.]+: [^`]*)`/.exec(hint)?.[1]
  const out = /, and leave out ((?:`[\w.]+`(?:, )?)+)/.exec(hint)?.[1]
  const names = out === undefined ? [] : [...out.matchAll(/`([\w.]+)`/g)].map((m) => m[1]!)
  const without = names.reduce((d, n) => put(d, [...beside, ...keysOf(n)], undefined), doc)
  return set === undefined ? without : written(without, set, beside)
}

const began = (doc: unknown, i: Issue, path: Path): unknown => {
  const hint = i.hint!
  const beside = path.slice(0, -1)
  const move = (to: Path): unknown =>
    put(put(doc, path, undefined), to, merged(get(doc, to), get(doc, path)))
  const match = (pattern: RegExp): string | undefined => pattern.exec(hint)?.[1]
  const meant = match(/^did you mean `([^`]+)`\?/)
  const under = /`([^`]+)` belongs (?:under `([^`]+)`|at the top level)/.exec(hint)
  if (under !== null) return move([...(under[2] === undefined ? [] : keysOf(under[2])), under[1]!])
  if (meant !== undefined)
    return i.message.startsWith('unknown key')
      ? move(absolute(meant, beside))
      : put(doc, path, meant)
  if (hint.startsWith('write its keys one level up'))
    return put(put(doc, path, undefined), beside, {
      ...(get(put(doc, path, undefined), beside) as Doc),
      ...(get(doc, path) as Doc),
    })
  const list = match(/^write it as a list: (\[.*\])$/)
  if (list !== undefined) return put(doc, path, readYaml(list))
  const as = match(/^write it as (?:the top-level )?`([\w.]+)`/)
  if (as !== undefined) return move(hint.includes('top-level') ? keysOf(as) : absolute(as, beside))
  const one = match(/^write one of them as `(\w+)`/)
  if (one !== undefined)
    return put(put(doc, path, undefined), [one], Object.values(get(doc, path) as Doc)[0])
  if (hint.endsWith('with nothing else in it'))
    return put(doc, ['preprocessing', 'split'], { type: 'fixed' })
  const only = match(/^leave out `([\w.]+)`/)
  if (only !== undefined) return put(doc, [...path.slice(0, 2), ...keysOf(only)], undefined)
  if (/^(leave (it|them|the key) out|remove it|keep )/.test(hint)) return put(doc, path, undefined)
  if (hint.startsWith('put it in quotes')) return put(doc, path, String(get(doc, path)))
  const snippet = match(SNIPPET)
  if (snippet !== undefined) return written(doc, snippet, beside)
  const value = match(/^write (?:`([^`:]+)`|"[^"]*")/) ?? match(/^write "([^"]*)"/)
  if (value !== undefined) return put(doc, path, readYaml(value))
  throw new Error(`nobody can follow "${hint}" for ${i.path}`)
}

/** The config after one hint. */
export const follow = (doc: unknown, i: Issue): unknown => {
  const path = keysOf(i.path ?? '')
  return besides(began(doc, i, path), i.hint!, path.slice(0, -1))
}
