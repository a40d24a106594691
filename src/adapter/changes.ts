/** What of an adapter changes which tensor of its base. */
import * as E from 'fp-ts/lib/Either.js'
import { sizeOf, type Ia3 } from '../../passes/index.ts'
import { takesInput } from '../../passes/ia3.ts'
import { moduleOf } from '../../passes/linear.ts'
import { issue, type Issue } from '../issue.ts'
import { EMBEDDING, HEAD } from '../models/head.ts'
import type { Checkpoint, TensorEntry, TensorFile } from '../tensors/reader.ts'
import type { Adapter } from './config.ts'
import { adapterMatrices, magnitudeOf, peftName, vectorOf, wrappedBias } from './names.ts'

export type Change =
  /** s·B·A is added. */
  | {
      readonly _tag: 'low'
      readonly a: TensorEntry
      readonly b: TensorEntry
      readonly scale: number
      /** DoRA: the lengths that rows of the sum are given. */
      readonly lengths: TensorEntry | null
    }
  /** Rows, or columns, are multiplied. */
  | { readonly _tag: 'times'; readonly by: TensorEntry; readonly columns: boolean }
  /** The tensor is another one. */
  | { readonly _tag: 'whole'; readonly by: TensorEntry }

/** Whether embedding and head are trained apart. */
export const separates = ({ save = [] }: Adapter): boolean =>
  [EMBEDDING, HEAD].some((t) => save.some((s) => moduleOf(t).endsWith(s)))

/** The head of a base that has none of its own, once it is trained apart from the embedding. */
export const ownHead = (base: Checkpoint, lora: Adapter): ReadonlyArray<TensorEntry> => {
  const table = base.tensors.get(EMBEDDING)
  return table === undefined || base.tensors.has(HEAD) || !separates(lora)
    ? []
    : [{ ...table, name: HEAD }]
}

const misfit = (adapter: TensorFile, w: TensorEntry, by: string): Issue =>
  issue(`the adapter's ${by} does not fit ${w.name} [${w.shape.join(', ')}]`, {
    file: adapter.path,
    path: w.name,
    hint: 'it was trained on another base model',
  })

const shown = (...of: ReadonlyArray<TensorEntry>): string =>
  of.map((t) => `[${t.shape.join(', ')}]`).join('·')

/** A bias is an output's, and is multiplied where outputs are. */
const timesOf = (w: TensorEntry, adapter: TensorFile, o: Ia3): Change | null => {
  const module = w.name.replace(/\.(weight|bias)$/, '')
  const by = adapter.tensors.get(vectorOf(module))
  const columns = takesInput(o)(module)
  return by === undefined || (columns && w.shape.length === 1)
    ? null
    : { _tag: 'times', by, columns }
}

const changeOf = (
  w: TensorEntry,
  adapter: TensorFile,
  lora: Adapter,
): E.Either<Issue, Change | null> => {
  const module = moduleOf(w.name)
  const [a, b] = adapterMatrices(module).map((n) => adapter.tensors.get(n))
  const by = [peftName(w.name), wrappedBias(w.name.replace(/\.bias$/, ''))]
    .map((n) => adapter.tensors.get(n))
    .find((t) => t !== undefined)
  if (by !== undefined)
    return by.shape.join() === w.shape.join()
      ? E.right({ _tag: 'whole', by })
      : E.left(misfit(adapter, w, shown(by)))
  if (lora.kind === 'ia3') return E.right(timesOf(w, adapter, lora))
  if (a === undefined || b === undefined || module === w.name) return E.right(null)
  const { r, scale } = sizeOf(lora, module)
  const fits =
    w.shape.length === 2 &&
    a.shape.join() === `${r},${w.shape[1]}` &&
    b.shape.join() === `${w.shape[0]},${r}`
  const lengths = adapter.tensors.get(magnitudeOf(module)) ?? null
  return fits && (lengths === null || lengths.shape.join() === `${w.shape[0]}`)
    ? E.right({ _tag: 'low', a, b, scale, lengths })
    : E.left(misfit(adapter, w, shown(b, a)))
}

const usedBy = (c: Change): ReadonlyArray<string> =>
  c._tag !== 'low'
    ? [c.by.name]
    : [c.a, c.b, ...(c.lengths === null ? [] : [c.lengths])].map((t) => t.name)

/** By the names of the base's tensors. Left: a tensor of the adapter that fits none. */
export const changesOf = (
  base: Checkpoint,
  adapter: TensorFile,
  lora: Adapter,
): E.Either<Issue, ReadonlyMap<string, Change>> => {
  const changes = new Map<string, Change>()
  for (const w of [...base.tensors.values(), ...ownHead(base, lora)]) {
    const change = changeOf(w, adapter, lora)
    if (E.isLeft(change)) return change
    if (change.right !== null) changes.set(w.name, change.right)
  }
  const used = new Set([...changes.values()].flatMap(usedBy))
  const idle = [...adapter.tensors.keys()].find((n) => !used.has(n))
  return idle === undefined
    ? E.right(changes)
    : E.left(
        issue(`the base model has no weight for ${idle}`, {
          file: adapter.path,
          path: idle,
          hint: 'the adapter was trained on another base model',
        }),
      )
}
