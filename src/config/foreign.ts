/** What belongs to another task of Ludwig's is said in one sentence, not key by key. */
import { lookUp, type Known } from './ludwig/known.ts'
import { ludwigKeys } from './ludwig/keys.ts'
import { headless } from './checks/outputs.ts'
import { ludwigValue } from './ludwig/values.ts'
import type { Problem } from './problem.ts'
import { nodeAt, showPath, toValue, type MapNode, type Path } from './yaml/node.ts'

const valueAt = (root: MapNode, path: Path): unknown => {
  const node = nodeAt(root, path)
  return node === undefined ? undefined : toValue(node)
}

const sides = ['input_features', 'output_features'] as const

/** An encoder, a decoder, or something that is no text. */
const isForeign = (feature: unknown): boolean => {
  if (typeof feature !== 'object' || feature === null) return false
  const f = feature as Readonly<Record<string, unknown>>
  return 'encoder' in f || 'decoder' in f || (f['type'] !== undefined && f['type'] !== 'text')
}

/** Whether the file is one of Ludwig's other models: named so, or not named and shaped so; never with a language model to tune. */
const isOther = (root: MapNode): boolean => {
  const type = valueAt(root, ['model_type'])
  if (valueAt(root, ['base_model']) !== undefined || type === 'llm') return false
  if (type === 'ecd' || type === 'gbm') return true
  const features = sides.flatMap((side) => [valueAt(root, [side])].flat())
  return (
    type === undefined &&
    (root.entries.some((e) => e.key === 'combiner') || features.some(isForeign))
  )
}

const otherModel = (root: MapNode): Problem => ({
  message:
    'this is a config for a model that Ludwig builds of encoders, a combiner and decoders, or of trees; tunec fine-tunes language models and nothing else',
  path: nodeAt(root, ['model_type']) === undefined ? [] : ['model_type'],
  of: 'key',
  expected:
    'a config with `model_type: llm`, a `base_model`, one text input and one text output, or a text input with `encoder: {type: llm, base_model: path/to/model}` and labels',
})

const below = (path: Path, prefix: Path): boolean => prefix.every((key, i) => path[i] === key)

const DECODER = ['output_features', '0', 'decoder']
const ENCODER = ['input_features', '0', 'encoder']
const LABELS = ['fallback_label', 'vocab'].map((key) => [
  'output_features',
  '0',
  'preprocessing',
  key,
])
const TYPE = ['output_features', '0', 'type']

const isLabel = (type: string): boolean => ['category', 'binary', 'number'].includes(type)

interface Whole {
  /** What is about any of these is about the whole. */
  readonly of: ReadonlyArray<Path>
  readonly say: (root: MapNode, found: ReadonlyArray<Problem>) => Problem
}

const given = (root: MapNode, paths: ReadonlyArray<Path>): ReadonlyArray<string> =>
  paths.filter((p) => nodeAt(root, p) !== undefined).map((p) => `\`${p.slice(2).join('.')}\``)

/** `, and leave out …`, the keys that go with what is left. */
const without = (names: ReadonlyArray<string>): string =>
  names.length === 0 ? '' : `, and leave out ${names.join(', ')}`

const wholes: ReadonlyArray<Whole> = [
  {
    of: [TYPE, DECODER, ...LABELS],
    say: (root, found) => {
      const word = String(valueAt(root, TYPE))
      const type =
        found.find((p) => below(p.path, TYPE)) ??
        (isLabel(word) ? { message: headless(word), path: TYPE } : undefined)
      const rest = without(given(root, [DECODER, ...LABELS]))
      return type === undefined
        ? {
            message: 'tunec has no decoders: the answer is the text that the model writes',
            path: found[0]!.path.slice(0, found[0]!.path[2] === 'decoder' ? 3 : 4),
            of: 'key',
            hint: rest.replace(', and ', ''),
          }
        : { ...type, hint: `write \`type: text\`${rest}: the model learns to write the label` }
    },
  },
  {
    of: [ENCODER],
    say: () => ({
      message: 'with `model_type: llm` the base model reads the text itself',
      path: ENCODER,
      of: 'key',
      hint: 'leave it out',
    }),
  },
]

const isForeignProblem = (root: MapNode, p: Problem): boolean => {
  const type = valueAt(root, TYPE)
  return (
    !below(p.path, TYPE) ||
    isLabel(String(type)) ||
    ludwigValue(showPath(p.path), type) !== undefined
  )
}

const knownAt = (path: Path): Known =>
  path.reduce<Known>((known, key) => {
    if (/^\d+$/.test(key)) return known
    const row = lookUp(known, key)
    return row !== undefined && 'section' in row ? row.section : {}
  }, ludwigKeys)

/** A refused `type` names the keys that only it has: without them, what is left is accepted. */
const withKeys = (root: MapNode, p: Problem): Problem => {
  const section = nodeAt(root, p.path.slice(0, -1))
  const type = valueAt(root, p.path)
  if (p.path.at(-1) !== 'type' || p.hint === undefined || section?.kind !== 'map') return p
  const known = knownAt(p.path.slice(0, -1))
  const only = section.entries.flatMap(({ key }) => {
    const row = lookUp(known, key)
    const types = row !== undefined && 'types' in row ? row.types : undefined
    return types?.includes(String(type)) === true ? [`\`${key}\``] : []
  })
  return { ...p, hint: `${p.hint}${without(only)}` }
}

/** The problems of a file, with those of one foreign thing put into one. */
export const gathered = (
  root: MapNode,
  problems: ReadonlyArray<Problem>,
): ReadonlyArray<Problem> => {
  if (isOther(root)) return [otherModel(root)]
  // Encoders and labels are its own.
  if (valueAt(root, ['model_type']) === 'ecd') return problems.map((p) => withKeys(root, p))
  return wholes
    .reduce<ReadonlyArray<Problem>>((left, { of, say }) => {
      const mine = left.filter((p) => of.some((o) => below(p.path, o)) && isForeignProblem(root, p))
      // A label that is read out of an answer has a decoder of its own.
      const own = valueAt(root, TYPE) === 'category' && !mine.some((p) => below(p.path, TYPE))
      return mine.length === 0 || own
        ? left
        : [...left.filter((p) => !mine.includes(p)), say(root, mine)]
    }, problems)
    .map((p) => withKeys(root, p))
}
