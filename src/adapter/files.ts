/** The files beside a model's weights, copied so that a written folder stands on its own. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { withDtype } from '../models/dtype.ts'
import { isJson, type Json } from '../models/rope.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import type { Checkpoint } from '../tensors/reader.ts'
import { withCarried, withEnds, type Carried } from './carried.ts'
import { decodeText, parseJsonText } from '../text-file.ts'

/** What a tokenizer may consist of, in any generation of transformers. */
export const tokenizerFiles: ReadonlyArray<string> = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
]

export const CONFIG = 'config.json'
export const GENERATION = 'generation_config.json'

/** Copies those of `names` that exist in `from`. */
export const copyFiles = (
  from: string,
  to: string,
  names: ReadonlyArray<string>,
): TE.TaskEither<Issue, void> =>
  attempt('copy the files of the model', from, async () => {
    for (const name of names) await ifExists(() => fs.copyFile(join(from, name), join(to, name)))
  })

const readJson = (file: string): TE.TaskEither<Issue, Json> =>
  pipe(
    attempt('read the file', file, () => fs.readFile(file)),
    TE.chainEitherK((bytes) =>
      pipe(
        decodeText(bytes),
        E.chain(parseJsonText),
        E.mapLeft((i): Issue => ({ ...i, file })),
      ),
    ),
    TE.filterOrElse(isJson, () => issue('the file does not hold a JSON object', { file })),
  )

/** A description of the model that a run changed. */
export interface Changed {
  readonly name: string
  /** Its keys that say something else than the base's. */
  readonly keys: ReadonlyArray<string>
}

/** Nothing where the base has no such file, or the run changed nothing of it. */
const writeIfChanged =
  ({ folder: from, tensors }: Checkpoint, to: string, carried: Carried) =>
  (name: string): TE.TaskEither<Issue, ReadonlyArray<Changed>> => {
    const stored = [...tensors.values()].map((t) => t.dtype)
    return pipe(
      attempt('read the folder', from, () => ifExists(() => fs.stat(join(from, name)))),
      TE.chain((found) => (found === undefined ? TE.right(null) : readJson(join(from, name)))),
      TE.chain((was) => {
        if (was === null) return TE.right([])
        const is =
          name === CONFIG ? withDtype(withCarried(was, carried), stored) : withEnds(was, carried)
        if (is === was) return TE.right([])
        const text = `${JSON.stringify(is, null, 2)}\n`
        const keys = Object.keys(is).filter((k) => is[k] !== was[k])
        return TE.map(() => [{ name, keys }])(atomicWrite(join(to, name), Buffer.from(text)))
      }),
    )
  }

/** Writes the descriptions of the model that the run changed, and tells which; others stay as they are in the base. */
export const writeChanged = (
  base: Checkpoint,
  to: string,
  carried: Carried,
): TE.TaskEither<Issue, ReadonlyArray<Changed>> =>
  pipe(
    [CONFIG, GENERATION],
    TE.traverseSeqArray(writeIfChanged(base, to, carried)),
    TE.map((all) => all.flat()),
  )

/** Everything of a model but its weights. */
export const copyModelFiles = (
  base: Checkpoint,
  to: string,
  carried: Carried,
): TE.TaskEither<Issue, void> =>
  pipe(
    copyFiles(base.folder, to, [CONFIG, GENERATION, ...tokenizerFiles]),
    TE.chain(() => writeChanged(base, to, carried)),
    TE.map(() => undefined),
  )
