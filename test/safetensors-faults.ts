/** A gate before every call of the file system, to log it, to let it fail, or to stop the world there. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { mock } from 'node:test'

export interface Call {
  readonly name: string
  readonly path: string
  /** The new name of a `rename`. */
  readonly to?: string
  /** Does the call half-way, where it is not one step. */
  readonly part?: () => Promise<unknown>
}

export type Gate = (call: Call, proceed: () => Promise<unknown>) => Promise<unknown>

export const osError = (code: string): Error =>
  Object.assign(new Error(`${code}: injected`), { code })

const removeOneInside = async (path: string): Promise<void> => {
  const [first] = readdirSync(path)
  if (first !== undefined) rmSync(join(path, first), { recursive: true })
}

const half = <T extends { readonly length: number; slice: (from: number, to: number) => T }>(
  all: T,
): T => all.slice(0, Math.floor(all.length / 2))

/** What a call leaves behind that is cut short. */
const parts: Readonly<Record<string, (path: string, more: ReadonlyArray<unknown>) => void>> = {
  copyFile: (from, [to]) => writeFileSync(String(to), half(readFileSync(from))),
  writeFile: (path, [text]) => writeFileSync(path, half(text as string)),
}

type Write = (bytes: Uint8Array, from: number, length: number) => Promise<unknown>

const guard = (gate: Gate, handle: FileHandle, path: string): FileHandle => {
  const write = handle.write.bind(handle) as Write
  const bound = {
    sync: handle.sync.bind(handle),
    close: handle.close.bind(handle),
    read: handle.read.bind(handle) as (...all: ReadonlyArray<unknown>) => Promise<unknown>,
  }
  return Object.assign(handle, {
    write: (bytes: Uint8Array, from: number, length: number) => {
      const part = (): Promise<unknown> => write(bytes, from, Math.floor(length / 2))
      return gate({ name: 'write', path, part }, () => write(bytes, from, length))
    },
    sync: () => gate({ name: 'sync', path }, bound.sync),
    close: () => gate({ name: 'close', path }, bound.close),
    read: (...all: ReadonlyArray<unknown>) =>
      gate({ name: 'read', path }, () => bound.read(...all)),
  })
}

type Any = (path: string, ...more: ReadonlyArray<unknown>) => Promise<unknown>

const calls = [
  ...(['rename', 'mkdir', 'readdir', 'lstat', 'stat', 'access', 'rm'] as const),
  ...(['copyFile', 'readFile', 'writeFile', 'utimes'] as const),
]

/** Runs `run` with every call of `node:fs/promises` (its default export) passing through `gate`. */
export const gated = async <A>(gate: Gate, run: () => Promise<A>): Promise<A> => {
  const open = fs.open as Any
  const mocks = [
    mock.method(fs, 'open', async (path: string, ...more: ReadonlyArray<unknown>) => {
      const opened = await gate({ name: 'open', path }, () => open(path, ...more))
      return guard(gate, opened as FileHandle, path)
    }),
    ...calls.map((name) => {
      const real = fs[name] as Any
      const through: Any = (path, ...more) => {
        const call = {
          name,
          path,
          ...(name === 'rename' ? { to: String(more[0]) } : {}),
          ...(name === 'rm' ? { part: () => removeOneInside(path) } : {}),
          ...(name in parts ? { part: async () => parts[name]!(path, more) } : {}),
        }
        return gate(call, () => real(path, ...more))
      }
      return mock.method(fs, name, through as never)
    }),
  ]
  try {
    return await run()
  } finally {
    for (const one of mocks) one.mock.restore()
  }
}

/** Syncing takes longer than all the rest, and no test pulls the plug. */
export const withoutSync: Gate = (call, proceed) =>
  call.name === 'sync' ? Promise.resolve() : proceed()

/** Calls between which it makes no difference to the disk when a process dies. */
export const changing: ReadonlySet<string> = new Set([
  ...['write', 'rename', 'mkdir', 'rm', 'copyFile', 'writeFile'],
])

/**
 * Lets `count` calls that change the disk pass; the next happens half-way or not at all, and the world ends:
 * nothing works any more. Between two changes it makes no difference to the disk when the world ends.
 */
export const crashAfter = (
  count: number,
  halfway: boolean,
): Gate & { readonly changes: () => number; readonly split: () => boolean } => {
  let changes = 0
  let split = false
  const gate: Gate = async (call, proceed) => {
    if (changes > count) {
      if (call.name === 'close') await proceed()
      throw osError('EIO')
    }
    if (!changing.has(call.name)) return withoutSync(call, proceed)
    changes++
    if (changes <= count) return proceed()
    split = halfway && call.part !== undefined
    if (split) await call.part?.()
    throw osError('EIO')
  }
  // `split`: whether the last change was done half-way; one that is a single step leaves what dying before it leaves.
  return Object.assign(gate, { changes: () => changes, split: () => split })
}
