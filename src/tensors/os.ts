/** Operating-system errors as issues that name the path, and the reads and writes that must not stop half-way. */
import type { FileHandle } from 'node:fs/promises'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'

const reasons: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ENOENT: ['there is no such file or folder', 'check the path'],
  EACCES: ['permission denied', 'check who owns it and its mode'],
  EPERM: ['the operation is not permitted', 'check who owns it and its mode'],
  ENOSPC: ['the disk is full', 'free some space, or choose a folder on another disk'],
  EDQUOT: ['the disk quota is used up', 'free some space, or choose a folder on another disk'],
  EROFS: ['the disk is read-only', 'choose a folder on another disk'],
  EISDIR: ['it is a folder', 'name a file'],
  ENOTDIR: ['a part of the path is a file, not a folder', 'check the path'],
  EEXIST: ['it exists already', 'remove it, or choose another name'],
  ENOTEMPTY: ['the folder is not empty', 'remove it, or choose another name'],
  EMFILE: ['too many files are open', 'raise the limit (`ulimit -n`)'],
  EIO: ['the disk reports an error', 'check the disk; the file may be damaged'],
  EBUSY: ['it is in use or a mount point', 'choose a folder inside it'],
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined

/** The issue of an error of the operating system; any other error is a bug of ours and is thrown again. */
const osIssue =
  (doing: string, file: string) =>
  (error: unknown): Issue => {
    const code = codeOf(error)
    if (code === undefined || !(error instanceof Error)) throw error
    const known = reasons[code]
    return known
      ? issue(`cannot ${doing}: ${known[0]}`, { file, hint: known[1] })
      : issue(`cannot ${doing}: ${error.message}`, { file })
  }

/** Runs a file-system call; `doing` completes the sentence "cannot …". */
export const attempt = <A>(
  doing: string,
  file: string,
  run: () => Promise<A>,
): TE.TaskEither<Issue, A> => TE.tryCatch(run, osIssue(doing, file))

/** Cleans up after a failure, which is reported even if the cleaning fails: the next call cleans again. */
export const afterwards =
  (clean: TE.TaskEither<Issue, void>) =>
  <A>(run: TE.TaskEither<Issue, A>): TE.TaskEither<Issue, A> =>
    pipe(
      run,
      TE.orElse((failed) =>
        pipe(
          clean,
          TE.matchE(
            () => TE.left<Issue, A>(failed),
            () => TE.left<Issue, A>(failed),
          ),
        ),
      ),
    )

/** The value, or undefined where the path does not exist. */
export const ifExists = <A>(run: () => Promise<A>): Promise<A | undefined> =>
  run().catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })

/** One call moves at most this many bytes: the kernel stops at 2 GiB. */
const maxCall = 1 << 28

/** Writes all of `bytes` at the file's current position. */
export const writeAll = async (file: FileHandle, bytes: Uint8Array): Promise<void> => {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(maxCall, bytes.length - done))
    done += bytesWritten
  }
}

/** Fills `into` from position `begin` of the file; gives the number of bytes that came before the file ended. */
export const readInto = async (
  file: FileHandle,
  into: Uint8Array,
  begin: number,
): Promise<number> => {
  let done = 0
  while (done < into.length) {
    const wanted = Math.min(maxCall, into.length - done)
    const { bytesRead } = await file.read(into, done, wanted, begin + done)
    if (bytesRead === 0) return done
    done += bytesRead
  }
  return done
}
