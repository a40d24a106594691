/** The shards of a model: how they are cut and named, and the index that lists which tensor is in which. */
import { posix, win32 } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as O from 'fp-ts/lib/Option.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import type { TensorEntry, TensorFile } from './file.ts'
import { isObject, parseJson } from './json.ts'
import { byBytes, type Sized, type TensorInfo } from './layout.ts'
import { recogniseFile } from './recognise.ts'

export const weightsName = 'model.safetensors'
export const indexName = `${weightsName}.index.json`

/** Consecutive tensors together while they fit; one that is too large alone gets a shard of its own. */
export const pack = <T extends TensorInfo>(
  tensors: ReadonlyArray<Sized<T>>,
  maxBytes: number,
): ReadonlyArray<ReadonlyArray<Sized<T>>> => {
  const shards: Array<Array<Sized<T>>> = [[]]
  let filled = 0
  for (const tensor of tensors) {
    if (filled + tensor.bytes > maxBytes && (shards.at(-1)?.length ?? 0) > 0) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)?.push(tensor)
    filled += tensor.bytes
  }
  return shards
}

/** The name of the shard at `index`, from 0. */
export const shardName = (index: number, count: number): string => {
  const digits = (n: number): string => String(n).padStart(5, '0')
  return count === 1 ? weightsName : `model-${digits(index + 1)}-of-${digits(count)}.safetensors`
}

/** The index as transformers writes it: sorted, indented, with totals. */
export const indexText = (shards: ReadonlyArray<ReadonlyArray<Sized<TensorInfo>>>): string => {
  const all = shards.flat()
  const places = shards.flatMap((shard, i) =>
    shard.map(({ name }) => [name, shardName(i, shards.length)] as const),
  )
  const parameters = all.map(({ shape }) => shape.reduce((a, b) => a * b, 1))
  const sum = (values: ReadonlyArray<number>): number => values.reduce((a, b) => a + b, 0)
  const metadata = {
    total_parameters: sum(parameters),
    total_size: sum(all.map(({ bytes }) => bytes)),
  }
  const weight_map = Object.fromEntries(places.toSorted(([a], [b]) => byBytes(a, b)))
  return `${JSON.stringify({ metadata, weight_map }, null, 2)}\n`
}

/** Tensor name to shard name, as the index has it. */
export type WeightMap = ReadonlyMap<string, string>

const unfinished = 'the download or export did not finish or was mixed with another: do it again'

/** A plain file name, whatever the system: nothing that leads out of the folder. */
const isFileName = (name: string): boolean =>
  name !== '' &&
  name !== '.' &&
  name !== '..' &&
  !name.includes('\0') &&
  posix.basename(name) === name &&
  win32.basename(name) === name

/** The issue of a file that is no index at all (a pointer, a web page), else `found`. */
const instead = (text: string, found: Issue): Issue =>
  text.startsWith('{')
    ? found
    : O.getOrElse(() => found)(
        recogniseFile(Buffer.from(text.slice(0, 500)), text.length, 'JSON: {weight_map}'),
      )

/** The index's `weight_map`; its `metadata` is not used, for writers disagree on it. Left: what the text is instead. */
export const parseIndex = (text: string): E.Either<Issue, WeightMap> =>
  pipe(
    parseJson(text, { maxDepth: 8, onlyCounts: false }),
    E.chain((value): E.Either<Issue, WeightMap> => {
      const map = isObject(value) ? value['weight_map'] : undefined
      if (!isObject(map))
        return E.left(issue('the index has no `weight_map`', { expected: '{tensor: file}' }))
      const entries = Object.entries(map)
      const odd = entries.find(([, file]) => typeof file !== 'string' || !isFileName(file))
      if (odd)
        return E.left(
          issue(`the shard ${JSON.stringify(odd[1])} is not a plain file name`, {
            path: odd[0],
            expected: 'a file in the same folder',
          }),
        )
      return E.right(new Map(entries.map(([name, file]) => [name, String(file)])))
    }),
    E.mapLeft((i): Issue => ({ hint: unfinished, ...instead(text, i) })),
  )

/** Names for a message: the first few. */
export const listed = (names: ReadonlyArray<string>): string =>
  names.length > 5
    ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`
    : names.join(', ')

/** The index and the shards must name the same tensors in the same files. */
export const agree = (
  index: string,
  map: WeightMap,
  shards: ReadonlyMap<string, TensorFile>,
): E.Either<Issue, ReadonlyMap<string, TensorEntry>> => {
  const tensors = new Map<string, TensorEntry>()
  const wrong = (message: string, path: string): E.Either<Issue, never> =>
    E.left(issue(message, { file: index, path, hint: unfinished }))
  for (const [name, shard] of map) {
    const entry = shards.get(shard)?.tensors.get(name)
    if (!entry) return wrong(`the index puts the tensor in ${shard}, which does not hold it`, name)
    tensors.set(name, entry)
  }
  for (const [shard, { tensors: held }] of shards)
    for (const name of held.keys())
      if (map.get(name) !== shard)
        return wrong(
          map.has(name)
            ? `${shard} holds the tensor, which the index puts in ${map.get(name)}`
            : `${shard} holds the tensor, which the index does not list`,
          name,
        )
  return E.right(tensors)
}
