/** One safetensors file: its header is read once, its tensors one at a time by positioned reads. */
import type { Stats } from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import * as E from 'fp-ts/lib/Either.js'
import * as O from 'fp-ts/lib/Option.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import type { Dtype, Shape } from './dtype.ts'
import { type Header, headerEnd, parseHeader } from './header.ts'
import { attempt, readInto } from './os.ts'
import { recogniseFile } from './recognise.ts'

/** A tensor and where its bytes are: positions `begin` to `end` of `file`. */
export interface TensorEntry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: Shape
  readonly file: string
  readonly begin: number
  readonly end: number
}

/** A tensor while its file is open: its bytes in pieces, of which none has to be larger than the host's memory. */
export interface OpenTensor {
  readonly entry: TensorEntry
  readonly fd: number
  /** Fills `into` with the tensor's bytes from position `at` on. */
  readonly read: (into: Uint8Array, at: number) => TE.TaskEither<Issue, void>
}

/** What is done with an open tensor. */
export type Use<Err, A> = (t: OpenTensor) => TE.TaskEither<Err, A>

export interface TensorFile {
  readonly path: string
  readonly metadata: ReadonlyMap<string, string>
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** Little-endian, row-major bytes in an array of their own. */
  readonly read: (name: string) => TE.TaskEither<Issue, Uint8Array>
  readonly open: <Err, A>(name: string, use: Use<Err, A>) => TE.TaskEither<Err | Issue, A>
}

const kib = 1024

/** What tells a file from another that took its place. */
const identity = ({ dev, ino, size, mtimeMs }: Stats): string => [dev, ino, size, mtimeMs].join()

const withFile = <Err, A>(
  path: string,
  use: (file: FileHandle) => TE.TaskEither<Err | Issue, A>,
): TE.TaskEither<Err | Issue, A> =>
  TE.bracket<Err | Issue, FileHandle, A>(
    attempt('open the file', path, () => fs.open(path, 'r')),
    use,
    (file) => attempt('close the file', path, () => file.close()),
  )

/** `length` bytes that nobody else holds. Left: there is no memory for them. */
const allocate = (length: number, path: string): E.Either<Issue, Uint8Array> =>
  E.tryCatch(
    () => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer),
    () =>
      issue(`there is no memory for a tensor of ${length} bytes`, {
        file: path,
        hint: 'Node 20 holds at most 4 GiB in one array; later versions hold more',
      }),
  )

/** Requests that are under way at once, and the least bytes of one: a single thread copies slower than the rest loads. */
const [ABREAST, STRETCH] = [4, 1 << 22]

/** Fills `into` from position `begin`. Left: the file ends before. */
const fill = (
  file: FileHandle,
  path: string,
  into: Uint8Array,
  begin: number,
): TE.TaskEither<Issue, void> => {
  const step = Math.max(STRETCH, Math.ceil(into.length / ABREAST))
  const stretches = Array.from({ length: Math.ceil(into.length / step) }, (_, i) => i * step)
  return pipe(
    attempt('read the file', path, () =>
      Promise.all(stretches.map((at) => readInto(file, into.subarray(at, at + step), begin + at))),
    ),
    TE.map((parts) => parts.reduce((a, b) => a + b, 0)),
    TE.filterOrElse(
      (done) => done === into.length,
      (done) =>
        issue(`the file ended after ${done} of ${into.length} bytes at ${begin}`, {
          file: path,
          hint: 'it became shorter while it was read: download or export it again',
        }),
    ),
    TE.map(() => undefined),
  )
}

const readBytes = (
  file: FileHandle,
  path: string,
  begin: number,
  end: number,
): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    TE.fromEither(allocate(end - begin, path)),
    TE.chainFirst((bytes) => fill(file, path, bytes, begin)),
  )

const readHeader = (file: FileHandle, path: string, size: number): TE.TaskEither<Issue, Header> =>
  pipe(
    readBytes(file, path, 0, Math.min(size, kib)),
    TE.chain((first) =>
      pipe(
        TE.fromEither(headerEnd(first, size)),
        TE.chain((end) => readBytes(file, path, 0, end)),
        TE.chainEitherK((bytes) => parseHeader(bytes, size)),
        TE.mapLeft((i) => O.getOrElse(() => i)(recogniseFile(first, size))),
      ),
    ),
    TE.mapLeft((i) => ({ ...i, file: path })),
  )

const noSuchTensor = (name: string, file: string): Issue =>
  issue('the tensor is not in the file', {
    file,
    path: name,
    hint: 'check the model and its config',
  })

const openTensor = <Err, A>(
  entry: TensorEntry,
  stamp: string,
  use: (file: FileHandle) => TE.TaskEither<Err | Issue, A>,
): TE.TaskEither<Err | Issue, A> =>
  withFile(entry.file, (file) =>
    pipe(
      attempt('read the file', entry.file, () => file.stat()),
      TE.filterOrElse(
        (stats) => identity(stats) === stamp,
        () =>
          issue('the file changed after it was opened', {
            file: entry.file,
            path: entry.name,
            hint: 'run again, and let nothing write to it meanwhile',
          }),
      ),
      TE.chainW(() => use(file)),
    ),
  )

const tensorFile = (path: string, header: Header, stamp: string): TensorFile => {
  const tensors = new Map(header.tensors.map((t) => [t.name, { ...t, file: path }]))
  const named = <Err, A>(
    name: string,
    use: (file: FileHandle, entry: TensorEntry) => TE.TaskEither<Err | Issue, A>,
  ): TE.TaskEither<Err | Issue, A> => {
    const entry = tensors.get(name)
    return entry
      ? openTensor(entry, stamp, (file) => use(file, entry))
      : TE.left(noSuchTensor(name, path))
  }
  return {
    path,
    metadata: header.metadata,
    tensors,
    read: (name) =>
      named(name, (file, { begin, end }) =>
        pipe(
          readBytes(file, path, begin, end),
          TE.mapLeft((i) => ({ ...i, path: name })),
        ),
      ),
    open: (name, use) =>
      named(name, (file, entry) =>
        use({
          entry,
          fd: file.fd,
          read: (into, at) =>
            pipe(
              fill(file, entry.file, into, entry.begin + at),
              TE.mapLeft((i) => ({ ...i, path: name })),
            ),
        }),
      ),
  }
}

/** Reads and checks the header of the file. Left: what is wrong with it, or what it is instead. */
export const openFile = (path: string): TE.TaskEither<Issue, TensorFile> =>
  pipe(
    // Before opening: the open of a named pipe waits for ever.
    attempt('read the file', path, () => fs.stat(path)),
    TE.filterOrElse(
      (stats) => stats.isFile(),
      () => issue('this is not a file', { file: path, expected: 'a safetensors file' }),
    ),
    TE.chain(() =>
      withFile(path, (file) =>
        pipe(
          attempt('read the file', path, () => file.stat()),
          TE.chain((stats) =>
            pipe(
              readHeader(file, path, stats.size),
              TE.map((header) => tensorFile(path, header, identity(stats))),
            ),
          ),
        ),
      ),
    ),
  )
