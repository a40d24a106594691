/** The short and the old ways of writing a section, turned into the full one. */
import { hoistEncoder, type Hoisted } from './hoist.ts'
import { notice, type Problem } from './problem.ts'
import { isNull, nodeAt, scalar, withEntry, type MapNode, type Node } from './yaml/node.ts'

export type Expanded = Hoisted

type Step = (root: MapNode) => Expanded

const same = (root: MapNode): Expanded => ({ root, problems: [], notices: [] })

const child = (map: MapNode, key: string): Node | undefined => nodeAt(map, [key])

/** `adapter: lora` is `adapter: {type: lora}`. */
const word = (node: Node, key: string): Node =>
  node.kind === 'scalar' && typeof node.value === 'string'
    ? { kind: 'map', at: node.at, entries: [{ key, at: node.at, value: node }] }
    : node

const expandWord =
  (section: string, key: string): Step =>
  (root) => {
    const node = child(root, section)
    return same(node === undefined ? root : withEntry(root, section, word(node, key)))
  }

const expandTrainerWords: Step = (root) => {
  const trainer = child(root, 'trainer')
  if (trainer?.kind !== 'map') return same(root)
  const words = [
    ['optimizer', 'type'],
    ['learning_rate_scheduler', 'decay'],
  ] as const
  const expanded = words.reduce((map, [section, key]) => {
    const node = child(map, section)
    return node === undefined ? map : withEntry(map, section, word(node, key))
  }, trainer)
  return same(withEntry(root, 'trainer', expanded))
}

/** Ludwig's schema puts the type before a key, its examples do not. */
const preferenceNames: ReadonlyArray<readonly [type: string, key: string]> = [
  ['dpo', 'beta'],
  ['dpo', 'loss_type'],
  ['dpo', 'label_smoothing'],
  ['kto', 'beta'],
  ['orpo', 'beta'],
]

const shortenPreference =
  ([type, key]: readonly [string, string]): Step =>
  (root) => {
    const long = `${type}_${key}`
    const trainer = child(root, 'trainer')
    const value = nodeAt(root, ['trainer', long])
    const own = nodeAt(root, ['trainer', 'type'])
    if (trainer?.kind !== 'map' || value === undefined) return same(root)
    if (own?.kind !== 'scalar' || own.value !== type) return same(root)
    const rest = withEntry(trainer, long, undefined)
    if (child(rest, key) === undefined)
      return same(withEntry(root, 'trainer', withEntry(rest, key, value)))
    const message = `both \`${long}\` and \`${key}\` are given, which is the same`
    const problem: Problem = { message, path: ['trainer', long], of: 'key', hint: 'leave it out' }
    return { root: withEntry(root, 'trainer', rest), problems: [problem], notices: [] }
  }

const emptyAt = (node: Node): MapNode => ({ kind: 'map', entries: [], at: node.at })

/** `preprocessing.split_probabilities` is the older spelling of `preprocessing.split.probabilities`. */
const moveSplitProbabilities: Step = (root) => {
  const path = ['preprocessing', 'split_probabilities']
  const preprocessing = child(root, 'preprocessing')
  const shares = nodeAt(root, path)
  if (preprocessing?.kind !== 'map' || shares === undefined) return same(root)
  const rest = withEntry(preprocessing, 'split_probabilities', undefined)
  const given = child(rest, 'split')
  const split = given === undefined || isNull(given) ? emptyAt(shares) : given
  if (split.kind !== 'map' || child(split, 'probabilities') !== undefined) {
    const message = 'both `split` and `split_probabilities` give the split'
    const problem: Problem = { message, path, of: 'key', hint: 'keep `split.probabilities`' }
    return { root: withEntry(root, 'preprocessing', rest), problems: [problem], notices: [] }
  }
  const moved = withEntry(rest, 'split', withEntry(split, 'probabilities', shares))
  const message = '`split_probabilities` is read as `split.probabilities`'
  return {
    root: withEntry(root, 'preprocessing', isNull(shares) ? rest : moved),
    problems: [],
    notices: [notice(root, path, message)],
  }
}

const distributed = ['ray', 'deepspeed', 'horovod']
const backendKeys = ['trainer', 'zero_optimization', 'processor', 'cache_dir', 'cache_credentials']

const runLocally: Step = (root) => {
  const backend = child(root, 'backend')
  if (backend?.kind !== 'map') return same(root)
  const type = child(backend, 'type')
  const name = type?.kind === 'scalar' ? String(type.value) : 'local'
  const idle = backendKeys.filter((key) => child(backend, key) !== undefined)
  const bare = idle.reduce((map, key) => withEntry(map, key, undefined), backend)
  const isRemote = type !== undefined && distributed.includes(name)
  const local = isRemote ? withEntry(bare, 'type', scalar('local', type.at)) : bare
  const notices = [
    ...(isRemote
      ? [notice(root, ['backend'], `the backend ${name} is not used: tunec runs locally`)]
      : []),
    ...idle.map((key) =>
      notice(root, ['backend', key], `\`backend.${key}\` has no effect: tunec runs locally`),
    ),
  ]
  return { root: withEntry(root, 'backend', local), problems: [], notices }
}

const clipAnyway: Step = (root) => {
  const path = ['trainer', 'gradient_clipping']
  const clipping = nodeAt(root, path)
  if (clipping === undefined || !isNull(clipping)) return same(root)
  const message =
    '`gradient_clipping: null` still clips at 0.5, as in Ludwig; write `{clipglobalnorm: null}`'
  return { root, problems: [], notices: [notice(root, path, message)] }
}

const dropVersion: Step = (root) =>
  child(root, 'ludwig_version') === undefined
    ? same(root)
    : {
        root: withEntry(root, 'ludwig_version', undefined),
        problems: [],
        notices: [notice(root, ['ludwig_version'], '`ludwig_version` is ignored')],
      }

const steps: ReadonlyArray<Step> = [
  // First: the others look where `model_type: llm` has its keys.
  hoistEncoder,
  expandWord('adapter', 'type'),
  expandWord('backend', 'type'),
  expandTrainerWords,
  ...preferenceNames.map(shortenPreference),
  moveSplitProbabilities,
  runLocally,
  clipAnyway,
  dropVersion,
]

export const expandShorthand = (root: MapNode): Expanded =>
  steps.reduce((so, step) => {
    const next = step(so.root)
    return {
      root: next.root,
      problems: [...so.problems, ...next.problems],
      notices: [...so.notices, ...next.notices],
    }
  }, same(root))
