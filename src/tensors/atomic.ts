/**
 * Files and folders that appear whole or not at all, whenever the process or the machine stops.
 *
 * A file is written under a temporary name, synced, and renamed over the old one: one step for any reader.
 *
 * A folder cannot be renamed over one that holds files, and a link that points to versions would not survive
 * being copied. So the old folder steps aside, and by its place says how far the switch came:
 *
 *   1. `.NAME.<random>.tmp` is filled and synced          NAME is the old one
 *   2. NAME becomes `.NAME.replaced`                           no NAME: `.NAME.replaced` is the current one
 *   3. `.NAME.<random>.tmp` becomes NAME                  NAME is the new one
 *   4. `.NAME.replaced` becomes `.NAME.<random>.tmp`, and is removed
 *
 * The folder around is synced after every rename, so the disk sees these steps in this order. `.NAME.replaced` is
 * complete whenever it exists; `.tmp` names are never read, and the next call removes them. A reader finds the
 * current one in any of these states by `currentFolder`. The writer settles before it looks: a path that
 * `currentFolder` gave does not survive the next `atomicFolder`. One writer at a time: a second one makes the
 * first fail with an issue, not with a mixed result.
 */
import { randomBytes } from 'node:crypto'
import fs, { type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import { afterwards, attempt, ifExists, writeAll } from './os.ts'
import { syncFolder, syncTree } from './sync.ts'

const temporaryBeside = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)

const isTemporaryOf =
  (path: string) =>
  (name: string): boolean => {
    const start = `.${basename(path)}.`
    return name.startsWith(start) && /^[0-9a-f]{12}\.tmp$/.test(name.slice(start.length))
  }

const removeLeftovers = async (path: string): Promise<void> => {
  const around = dirname(path)
  for (const name of (await fs.readdir(around)).filter(isTemporaryOf(path)))
    await fs.rm(join(around, name), { recursive: true, force: true })
}

const fillFile = <A>(
  path: string,
  temporary: string,
  fill: (file: FileHandle) => TE.TaskEither<Issue, A>,
): TE.TaskEither<Issue, A> =>
  TE.bracket(
    attempt('write the file', path, () => fs.open(temporary, 'wx')),
    (file) =>
      pipe(
        fill(file),
        TE.chainFirst(() => attempt('write the file', path, () => file.sync())),
      ),
    (file) => attempt('write the file', path, () => file.close()),
  )

/**
 * Writes the file that `fill` fills. The folder around must exist. After a Left the old file is as it was,
 * unless only the last sync failed: then the new one stands, and may not survive a loss of power.
 */
export const atomicFile = <A>(
  path: string,
  fill: (file: FileHandle) => TE.TaskEither<Issue, A>,
): TE.TaskEither<Issue, A> => {
  const final = resolve(path)
  const temporary = temporaryBeside(final)
  return pipe(
    attempt('write the file', path, () => removeLeftovers(final)),
    TE.chain(() =>
      pipe(
        fillFile(path, temporary, fill),
        TE.chainFirst(() => attempt('write the file', path, () => fs.rename(temporary, final))),
        afterwards(attempt('clean up', path, () => fs.rm(temporary, { force: true }))),
      ),
    ),
    TE.chainFirst(() => attempt('write the file', path, () => syncFolder(dirname(final)))),
  )
}

/** Writes the file, as `atomicFile` does. */
export const atomicWrite = (path: string, bytes: Uint8Array): TE.TaskEither<Issue, void> =>
  atomicFile(path, (file) => attempt('write the file', path, () => writeAll(file, bytes)))

const asideOf = (final: string): string => join(dirname(final), `.${basename(final)}.replaced`)

const renameSynced = async (from: string, to: string): Promise<void> => {
  await fs.rename(from, to)
  await syncFolder(dirname(to))
}

/** Ends a switch that was cut short, by undoing or completing it, and removes what is of no use. */
const settle = async (final: string): Promise<void> => {
  const aside = asideOf(final)
  if (await ifExists(() => fs.lstat(aside)))
    await renameSynced(
      aside,
      (await ifExists(() => fs.lstat(final))) ? temporaryBeside(final) : final,
    )
  await removeLeftovers(final)
}

/** The complete folder in its place, after a switch that was cut short has been ended; null where there is none. For the writer. */
export const settledFolder = (folder: string): TE.TaskEither<Issue, string | null> => {
  const final = resolve(folder)
  return attempt('read the folder', folder, async () => {
    if (!(await ifExists(() => fs.lstat(dirname(final))))) return null
    await settle(final)
    return (await ifExists(() => fs.lstat(final))) === undefined ? null : folder
  })
}

const replace = async (final: string, filled: string): Promise<void> => {
  await syncTree(filled)
  if (await ifExists(() => fs.lstat(final))) await renameSynced(final, asideOf(final))
  await renameSynced(filled, final)
}

const isFolderOrNothing = (path: string): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('write the folder', path, () => ifExists(() => fs.lstat(path))),
    TE.chain((stats) =>
      stats === undefined || stats.isDirectory()
        ? TE.right(undefined)
        : TE.left(
            issue('this is not a folder, and will not be replaced by one', {
              file: path,
              hint: stats.isSymbolicLink()
                ? 'name the folder that the link points to'
                : 'move it away',
            }),
          ),
    ),
  )

/**
 * Replaces the folder by the one that `fill` fills, given the path of an empty one beside it.
 * The folder around must exist. After a Left the old folder is as it was, unless only the last sync failed.
 */
export const atomicFolder = (
  folder: string,
  fill: (temporary: string) => TE.TaskEither<Issue, void>,
): TE.TaskEither<Issue, void> => {
  const final = resolve(folder)
  const temporary = temporaryBeside(final)
  const write = <A>(run: () => Promise<A>): TE.TaskEither<Issue, A> =>
    attempt('write the folder', folder, run)
  return pipe(
    isFolderOrNothing(final),
    TE.chain(() => write(() => settle(final))),
    TE.chain(() =>
      pipe(
        write(() => fs.mkdir(temporary)),
        TE.chain(() => fill(temporary)),
        TE.chain(() => write(() => replace(final, temporary))),
        afterwards(write(() => settle(final))),
      ),
    ),
    // The new folder stands. What cannot be removed now, the next call removes or reports.
    TE.chain(() => TE.orElse(() => TE.right<Issue, void>(undefined))(write(() => settle(final)))),
  )
}

/** Where the complete folder is at this moment, also after a switch that was cut short. Left: there is none. */
export const currentFolder = (folder: string): TE.TaskEither<Issue, string> => {
  const final = resolve(folder)
  return pipe(
    attempt('read the folder', folder, async () => {
      if (await ifExists(() => fs.lstat(final))) return folder
      await fs.lstat(asideOf(final))
      return asideOf(final)
    }),
  )
}
