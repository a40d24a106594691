/** Shared libraries, loaded when asked for and kept for the life of the process; functions are bound at their first call. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import koffi, { type LibraryHandle } from 'koffi'
import { type Cuda, cudaError, OWN } from './error.ts'
import { folders, type Where } from './places.ts'

/** A number, an address, memory (a buffer or its address), a string, or a list of strings. */
export type Value = number | bigint | string | null | NodeJS.TypedArray | ReadonlyArray<string>

/** Functions by name: the C types of result and arguments. */
export type Prototypes = Readonly<
  Record<string, readonly [result: string, args: ReadonlyArray<string>]>
>

export interface Library<P extends Prototypes> {
  readonly path: string
  readonly call: (name: keyof P & string, ...args: ReadonlyArray<Value>) => Cuda<unknown>
}

interface Loaded {
  readonly path: string
  readonly handle: LibraryHandle
  readonly bound: Map<string, (...args: ReadonlyArray<Value>) => unknown>
}

const loaded = new Map<string, Loaded>()

const load = (file: string, global: boolean): E.Either<string, Loaded> => {
  const known = loaded.get(file)
  if (known !== undefined) return E.right(known)
  try {
    const entry = { path: file, handle: koffi.load(file, { global }), bound: new Map() }
    loaded.set(file, entry)
    return E.right(entry)
  } catch (e) {
    return E.left(e instanceof Error ? e.message : String(e))
  }
}

const bind = <P extends Prototypes>(lib: Loaded, prototypes: P): Library<P> => ({
  path: lib.path,
  call: (name, ...args) => {
    try {
      const f = lib.bound.get(name)
      if (f !== undefined) return E.right(f(...args))
      const [result, types] = prototypes[name]!
      const made = lib.handle.func(name, result, [...types])
      lib.bound.set(name, made)
      return E.right(made(...args))
    } catch (e) {
      const why = e instanceof Error ? e.message : String(e)
      return E.left(
        cudaError(
          name,
          OWN,
          'CALL_NOT_POSSIBLE',
          `${name} of ${lib.path}: ${why}`,
          /Cannot find function/.test(why)
            ? 'the library is older than this function: update it'
            : undefined,
        ),
      )
    }
  },
})

/** Libraries that must be in the process before `file`, found beside it: NVRTC opens its builtins by bare name. */
const companions = (file: string, beside: RegExp | null): void => {
  if (beside === null) return
  const folder = path.dirname(file)
  for (const name of fs.readdirSync(folder).filter((n) => beside.test(n)))
    load(path.join(folder, name), true)
}

export interface Wanted<P extends Prototypes> {
  /** File names, best first. */
  readonly names: ReadonlyArray<string>
  readonly prototypes: P
  readonly beside: RegExp | null
  readonly install: string
}

/** Finds and loads a library: the first file that loads; else every path tried and what to install. */
export const open = <P extends Prototypes>(w: Where, wanted: Wanted<P>): Cuda<Library<P>> => {
  const { names } = wanted
  const places = folders(w)
  const refused: Array<string> = []
  for (const name of names)
    for (const file of places.map((d) => path.join(d, name)).filter((f) => fs.existsSync(f))) {
      companions(file, wanted.beside)
      const lib = load(file, false)
      if (E.isRight(lib)) return E.right(bind(lib.right, wanted.prototypes))
      refused.push(`${file}: ${lib.left}`)
    }
  for (const name of w.loader ? names : []) {
    const lib = load(name, false)
    if (E.isRight(lib)) return E.right(bind(lib.right, wanted.prototypes))
  }
  const tried = [
    ...refused,
    `${names.join(', ')} in ${places.length === 0 ? 'no folder: none of those it could be in exists' : places.join(', ')}`,
    ...(w.loader ? ["the loader's own search"] : []),
  ]
  return E.left(
    cudaError(
      'load',
      OWN,
      'LIBRARY_NOT_FOUND',
      `${names[0]} is not found; tried ${tried.join('; ')}`,
      wanted.install,
    ),
  )
}
