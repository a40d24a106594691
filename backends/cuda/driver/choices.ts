/** Which algorithm was fastest for a product, kept on disk for one version of cuBLASLt on one kind of card: a resumed run multiplies as the first one did. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import { writeWhole } from './cache.ts'
import type { Algorithm } from './plan.ts'

const file = t.type({
  version: t.literal(1),
  choices: t.record(t.string, t.type({ algorithm: t.string, us: t.number })),
})
type Choices = t.TypeOf<typeof file>['choices']

export interface Choice {
  readonly algorithm: Algorithm
  /** Measured time of a product. */
  readonly us: number
}

export interface ChoiceStore {
  readonly get: (key: string) => Choice | null
  /** Keeps a choice; the one of another process that came first wins and is returned, unless it is `unfit`. */
  readonly put: (key: string, choice: Choice, unfit: Choice | null) => Choice
  readonly notices: () => ReadonlyArray<string>
}

const read = (name: string): Choices =>
  pipe(
    E.tryCatch(
      () => JSON.parse(fs.readFileSync(name, 'utf8')) as unknown,
      () => null,
    ),
    E.chainW(file.decode),
    E.match(
      () => ({}),
      (f) => f.choices,
    ),
  )

const choiceOf = (c: Choices[string] | undefined): Choice | null =>
  c === undefined || !/^[0-9a-f]{128}$/.test(c.algorithm)
    ? null
    : { algorithm: Buffer.from(c.algorithm, 'hex'), us: c.us }

const nameOf = (device: string, library: string): string =>
  `products-${library}-${device.replace(/[^A-Za-z0-9]+/g, '-')}.json`

/** Choices of a folder; null keeps them for this session alone. */
export const openChoices = (
  folder: string | null,
  device: string,
  library: string,
): ChoiceStore => {
  const name = folder === null ? null : path.join(folder, nameOf(device, library))
  let known: Choices = name === null ? {} : read(name)
  let notice: string | null = null
  return {
    get: (key) => choiceOf(known[key]),
    put: (key, choice, unfit) => {
      const now = name === null ? known : { ...known, ...read(name) }
      const first = choiceOf(now[key])
      if (first !== null && !(unfit !== null && first.algorithm.equals(unfit.algorithm))) {
        known = now
        return first
      }
      known = { ...now, [key]: { algorithm: choice.algorithm.toString('hex'), us: choice.us } }
      if (name !== null) {
        const text = `${JSON.stringify({ version: 1, choices: known }, null, 1)}\n`
        notice = writeWhole(name, Buffer.from(text))
      }
      return choice
    },
    notices: () =>
      notice === null ? [] : [`choices of products are not kept in ${folder}: ${notice}`],
  }
}
