/** `model_type: ecd` with a language model as encoder, in the places where `model_type: llm` has the same keys. */
import { notice, type Notice, type Problem } from './problem.ts'
import {
  isNull,
  nodeAt,
  scalar,
  withEntry,
  type MapNode,
  type Node,
  type Path,
} from './yaml/node.ts'

export interface Hoisted {
  readonly root: MapNode
  /** Placed in the file as it was before. */
  readonly problems: ReadonlyArray<Problem>
  readonly notices: ReadonlyArray<Notice>
}

const feature: Path = ['input_features', '0']

/** From where in the input feature to which key of the whole file. */
const moves: ReadonlyArray<readonly [from: Path, to: string]> = [
  [['encoder', 'base_model'], 'base_model'],
  [['encoder', 'pretrained_model_name_or_path'], 'base_model'],
  [['encoder', 'adapter'], 'adapter'],
  [['encoder', 'quantization'], 'quantization'],
  [['encoder', 'model_parameters'], 'model_parameters'],
  [['preprocessing', 'prompt'], 'prompt'],
]

/** The same tree with one node replaced, added or (undefined) removed. */
const put = (node: Node, [key, ...rest]: Path, value: Node | undefined): Node => {
  if (key === undefined) return value ?? node
  if (node.kind === 'list')
    return {
      ...node,
      items: node.items.map((item, i) => (String(i) === key ? put(item, rest, value) : item)),
    }
  if (node.kind === 'scalar') return node
  if (rest.length === 0) return withEntry(node, key, value)
  const inner = nodeAt(node, [key])
  if (inner === undefined && value === undefined) return node
  const section: Node =
    inner === undefined || isNull(inner) ? { kind: 'map', entries: [], at: value!.at } : inner
  return withEntry(node, key, put(section, rest, value))
}

const putIn = (root: MapNode, path: Path, value: Node | undefined): MapNode => {
  const made = put(root, path, value)
  return made.kind === 'map' ? made : root
}

const move = (so: Hoisted, [from, to]: (typeof moves)[number]): Hoisted => {
  const path = [...feature, ...from]
  const node = nodeAt(so.root, path)
  if (node === undefined) return so
  const bare = putIn(so.root, path, undefined)
  if (isNull(node)) return { ...so, root: bare }
  if (nodeAt(bare, [to]) === undefined) return { ...so, root: withEntry(bare, to, node) }
  const problem: Problem = {
    message: `both the file and its encoder say \`${to}\``,
    path: [to],
    of: 'key',
    hint: `keep the one under \`input_features[0].${from[0]}\``,
  }
  return { ...so, root: bare, problems: [...so.problems, problem] }
}

/** What Ludwig assumes of such a file where it says nothing. */
const assume = (root: MapNode, path: Path, value: string | number): MapNode =>
  nodeAt(root, path) === undefined ? putIn(root, path, scalar(value, root.at)) : root

/** A cap may be written in either of two places. */
const cap = (root: MapNode): MapNode => {
  const [from, to] = [
    [...feature, 'encoder', 'max_sequence_length'],
    [...feature, 'preprocessing', 'max_sequence_length'],
  ] as const
  const node = nodeAt(root, from)
  const bare = node === undefined ? root : putIn(root, from, undefined)
  return node === undefined || isNull(node) || nodeAt(bare, to) !== undefined
    ? bare
    : putIn(bare, to, node)
}

/** A section at the top level is meant for the encoder; Ludwig drops it. */
const misplaced = (root: MapNode): ReadonlyArray<Notice> =>
  ['adapter', 'quantization', 'prompt']
    .filter((key) => {
      const node = nodeAt(root, [key])
      return node !== undefined && !isNull(node)
    })
    .map((key) =>
      notice(
        root,
        [key],
        `the top-level \`${key}\` is read as that of the encoder; Ludwig would ignore it`,
      ),
    )

const wordAt = (root: MapNode, path: Path): unknown => {
  const node = nodeAt(root, path)
  return node?.kind === 'scalar' ? node.value : undefined
}

/** Ludwig takes a file that does not say for ECD: one with a language model as encoder is meant so. */
const isEncoder = (root: MapNode): boolean =>
  nodeAt(root, ['model_type']) === undefined &&
  ['llm', 'auto_transformer'].includes(String(wordAt(root, [...feature, 'encoder', 'type'])))

export const hoistEncoder = (root: MapNode): Hoisted => {
  if (wordAt(root, ['model_type']) !== 'ecd' && !isEncoder(root))
    return { root, problems: [], notices: [] }
  const moved = moves.reduce(move, { root, problems: [], notices: misplaced(root) })
  const assumed: ReadonlyArray<readonly [Path, string | number]> = [
    [['model_type'], 'ecd'],
    [['trainer', 'type'], 'finetune'],
    [['trainer', 'batch_size'], 'auto'],
    [[...feature, 'preprocessing', 'max_sequence_length'], 256],
  ]
  return {
    ...moved,
    root: assumed.reduce((r, [path, value]) => assume(r, path, value), cap(moved.root)),
  }
}
