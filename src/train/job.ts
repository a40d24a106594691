/** What makes two runs the same job: only then may one continue the other. */
import { createHash } from 'node:crypto'
import * as t from 'io-ts'
import { print } from '../../ir/print.ts'
import type { Config } from '../config/schema/config.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { roomCodec } from '../plan/room.ts'
import type { Sample } from '../data/samples.ts'
import { splitNames } from '../data/split.ts'

export const jobCodec = t.readonly(
  t.exact(
    t.intersection([
      t.type({
        config: t.UnknownRecord,
        backend: t.string,
        /** SHA-256 of the base's tensors, of the program's text, and of the samples. */
        weights: t.string,
        program: t.string,
        data: t.string,
      }),
      t.partial({
        /** SHA-256 of the weights of the adapter that it goes on from. */
        adapter: t.union([t.string, t.null]),
        /** Not compared: what a GPU has free may change, and a resumed run keeps the room that it began with, for its bits depend on it. */
        room: t.union([roomCodec, t.null]),
      }),
    ]),
  ),
)
export type Job = t.TypeOf<typeof jobCodec>

/** Nothing of a sample that is answer and prompt alone, so that runs from before preferences go on. */
const preferred = ({ rejected, desirable }: Sample): string =>
  `${rejected === undefined ? '' : ` > ${rejected.join(' ')}`}${desirable === undefined ? '' : ` = ${desirable}`}`

const dataHash = (data: Dataset): string => {
  const hash = createHash('sha256')
  for (const name of splitNames)
    for (const s of data.samples[name])
      hash.update(
        `${name} ${s.row}: ${s.prompt.join(' ')} | ${s.target.join(' ')}${s.labels === undefined ? '' : ` | ${s.labels.join(' ')}`}${preferred(s)}\n`,
      )
  return hash.digest('hex')
}

const plain = (c: Config): Record<string, unknown> =>
  JSON.parse(JSON.stringify(c)) as Record<string, unknown>

/** `weights` as `initialize` gives it, `adapter` as `goOn`. */
export const jobOf = (
  plan: Plan,
  data: Dataset,
  backend: string,
  weights: string,
  adapter: string | null,
): Job => ({
  config: plain(plan.config),
  backend,
  weights,
  program: createHash('sha256').update(print(plan.program)).digest('hex'),
  data: dataHash(data),
  adapter,
  room: plan.room,
})

const leaves = (value: unknown, path: string): ReadonlyArray<readonly [string, string]> =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([k, v]) => leaves(v, path === '' ? k : `${path}.${k}`))
    : [[path, JSON.stringify(value)]]

const configDifferences = (was: Job, is: Job): ReadonlyArray<string> => {
  const [before, now] = [was, is].map((j) => new Map(leaves(j.config, '')))
  return [...new Set([...before!.keys(), ...now!.keys()])]
    .filter((k) => before!.get(k) !== now!.get(k))
    .map((k) => `${k} was ${before!.get(k) ?? 'absent'} and is ${now!.get(k) ?? 'absent'}`)
}

/** Every difference in words; none: the same job. */
export const differences = (was: Job, is: Job): ReadonlyArray<string> => {
  const config = configDifferences(was, is)
  return [
    ...config,
    ...(was.backend === is.backend
      ? []
      : [`the backend was ${was.backend} and is ${is.backend}, which rounds differently`]),
    ...(was.data === is.data
      ? []
      : ['the samples are others: the dataset or the tokenizer changed']),
    ...((was.adapter ?? null) === (is.adapter ?? null)
      ? []
      : ['the adapter that it went on from is another one']),
    ...(was.weights === is.weights ? [] : ["the base model's weights are others"]),
    // A changed config compiles to another program; that would only repeat it.
    ...(was.program === is.program || config.length > 0
      ? []
      : ['the compiled program is another one: the compiler changed']),
  ]
}
