/** Several adapters over one base that is loaded once: a program with room for any of them, in which they take turns. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program, State } from '../../ir/graph.ts'
import { bytes } from '../../ir/type.ts'
import { sizeOf, type Lora } from '../../passes/index.ts'
import { issue, type Issue } from '../issue.ts'
import { call } from '../train/problem.ts'
import { storedValues, type Opened } from './import.ts'
import { isA, isB, peftName } from './names.ts'

const moduleOf = (name: string): string =>
  name.slice(peftName('').length).replace(/\.lora_[AB]\.weight$/, '')

/** Left: an adapter that is more than products of A and B. */
const plain = ({ lora, file }: Opened): E.Either<Issue, Lora> => {
  const other = [...file.tensors.keys()].find((n) => !isA(n) && !isB(n))
  return lora.kind === undefined && lora.dora !== true && other === undefined
    ? E.right(lora)
    : E.left(
        issue(
          `the adapter is more than low-rank products${other === undefined ? '' : `: it holds ${other}`}`,
          {
            file: file.path,
            expected: 'plain LoRA, where adapters take turns',
            hint: 'ask it alone',
          },
        ),
      )
}

/** A path as a regular expression for it. */
const exactly = (module: string): string => module.replaceAll('.', '\\.')

/** Settings of a program for any of them: every module that one adapts, by the largest rank there, with the scale 1. */
export const roomFor = (all: ReadonlyArray<Opened>): E.Either<Issue, Lora> =>
  pipe(
    all,
    E.traverseArray(plain),
    E.map((): Lora => {
      const ranks = new Map<string, number>()
      for (const { file } of all)
        for (const [name, { shape }] of file.tensors)
          if (isA(name))
            ranks.set(moduleOf(name), Math.max(shape[0] ?? 1, ranks.get(moduleOf(name)) ?? 1))
      const by = Object.fromEntries([...ranks].map(([m, r]) => [exactly(m), r]))
      return { r: 1, alpha: 1, dropout: 0, targets: [...ranks.keys()], ranks: by, alphas: by }
    }),
  )

const f32 = (stored: Uint8Array): Float32Array => new Float32Array(stored.slice().buffer)

/** Rows below, or columns beside, of nothing: products stay what they are. */
const widened = (
  x: Float32Array,
  from: readonly [number, number],
  to: State,
  by: number,
): Uint8Array => {
  const [rows, columns] = to.type.shape as readonly [number, number]
  const out = new Float32Array(rows * columns)
  for (let i = 0; i < from[0]; i++)
    for (let k = 0; k < from[1]; k++) out[i * columns + k] = by * x[i * from[1] + k]!
  return new Uint8Array(out.buffer)
}

/** The adapter's values for a state, or none where it does not adapt the module. Left: it is for another base. */
const valuesFor = ({ lora, file }: Opened, s: State): TE.TaskEither<Issue, Uint8Array> => {
  const name = peftName(s.name)
  const entry = file.tensors.get(name)
  if (entry === undefined) return TE.right(new Uint8Array(bytes(s.type)))
  const along = isA(name) ? 1 : 0
  if (entry.shape.length !== 2 || entry.shape[along] !== s.type.shape[along])
    return TE.left(
      issue(`the adapter holds ${name} of shape [${entry.shape.join(', ')}]`, {
        file: file.path,
        path: name,
        expected: `${s.type.shape[along]} ${isA(name) ? 'columns' : 'rows'}, as the base model has`,
        hint: 'it was trained on another base model',
      }),
    )
  const by = isB(name) ? sizeOf(lora as Lora, moduleOf(name)).scale : 1
  return pipe(
    storedValues(file, name),
    TE.map((x) => widened(f32(x), entry.shape as readonly [number, number], s, by)),
  )
}

/** Puts one of them into a session of a program that has room for it. */
export const takeTurn =
  (session: Session, program: Program, adapter: Opened): TE.TaskEither<Issue, void> =>
  async () => {
    for (const s of program.state.filter((x) => isA(x.name) || isB(x.name))) {
      const done = await pipe(
        valuesFor(adapter, s),
        TE.chain((values) => call(session.write(s.name, values))),
      )()
      if (E.isLeft(done)) return done
    }
    return E.right(undefined)
  }
