/** Adapters that answer in turn: the run's own, and others that `--adapters` names. */
import fs from 'node:fs'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import type { Lora } from '../../passes/index.ts'
import { configName } from '../adapter/config.ts'
import { openAdapter, type Opened } from '../adapter/import.ts'
import { roomFor, takeTurn } from '../adapter/several.ts'
import { one, type Issues } from '../issue.ts'
import { weightsFolder } from '../train/results.ts'
import { textOf, type Options } from './command.ts'
import type { Trained } from './trained.ts'

export interface Turn {
  /** As the command names it. */
  readonly name: string
  readonly adapter: Opened
}

export interface Turns {
  /** Settings of a program for all of them. */
  readonly room: Lora
  readonly all: ReadonlyArray<Turn>
}

/** A results folder means the adapter in it. */
const folderOf = (name: string): string => {
  const inside = weightsFolder(path.resolve(name))
  return fs.existsSync(path.join(inside, configName)) ? inside : path.resolve(name)
}

/** Null: nobody asked for others. Left: one that cannot take turns. */
export const turnsOf = (
  own: string,
  { adapter }: Trained,
  o: Options,
): TE.TaskEither<Issues, Turns | null> => {
  const others = (textOf(o, 'adapters') ?? '').split(',').filter((x) => x.trim() !== '')
  if (others.length === 0) return TE.right(null)
  const named = [
    ...(adapter === null ? [] : [[own, adapter] as const]),
    ...others.map((name) => [name.trim(), folderOf(name.trim())] as const),
  ]
  return pipe(
    named,
    TE.traverseSeqArray(([name, folder]) =>
      pipe(
        openAdapter(folder),
        TE.map((opened): Turn => ({ name, adapter: opened })),
      ),
    ),
    TE.bindTo('all'),
    TE.bind('room', ({ all }) => TE.fromEither(roomFor(all.map((t) => t.adapter)))),
    TE.mapLeft(one),
  )
}

/** What `use` gives with each adapter, the base being loaded once. */
export const inTurn = <A>(
  session: Session,
  program: Program,
  { all }: Turns,
  use: (name: string) => TE.TaskEither<Issues, A>,
): TE.TaskEither<Issues, ReadonlyArray<A>> =>
  pipe(
    all,
    TE.traverseSeqArray(({ name, adapter }) =>
      pipe(
        takeTurn(session, program, adapter),
        TE.mapLeft(one),
        TE.chain(() => use(name)),
      ),
    ),
  )
