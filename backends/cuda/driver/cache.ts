/** Compiled modules on disk, by what they were made from. */
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { versionText } from './driver.ts'
import type { Cuda } from './error.ts'
import { type Compiled, type Nvrtc, optionsOf, type Unit } from './nvrtc.ts'

const sha = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const h = crypto.createHash('sha256')
  // A length before each part: no two lists of parts give the same bytes.
  for (const p of parts) h.update(`${p.length}:`).update(p)
  return h.digest('hex')
}

export const keyOf = (n: Pick<Nvrtc, 'version'>, u: Unit): string =>
  sha('tunec kernel 1', versionText(n.version), u.source, ...optionsOf(u))

/** Sum of all that follows, length of the log, log, image. */
const encode = (c: Compiled): Buffer => {
  const log = Buffer.from(c.log, 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(log.length)
  const body = Buffer.concat([length, log, c.image])
  return Buffer.concat([Buffer.from(sha(body), 'hex'), body])
}

/** Null where the entry is not what was written. */
const decode = (b: Buffer): Compiled | null => {
  const body = b.subarray(32)
  if (body.length < 4 || sha(body) !== b.subarray(0, 32).toString('hex')) return null
  const end = 4 + body.readUInt32LE(0)
  return { log: body.subarray(4, end).toString('utf8'), image: body.subarray(end) }
}

const read = (file: string): Buffer | null => {
  try {
    return fs.readFileSync(file)
  } catch {
    return null
  }
}

/** Null where it works, else why not. */
const attempt = (f: () => void): string | null => {
  try {
    f()
    return null
  } catch (e) {
    return e instanceof Error ? e.message : String(e)
  }
}

/** Writes beside and renames: a reader sees the old file, none, or all of the new one. The reason where it cannot. */
export const writeWhole = (file: string, bytes: Uint8Array): string | null => {
  const beside = `${file}.${process.pid}.${crypto.randomBytes(4).toString('hex')}`
  const why = attempt(() => {
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(beside, bytes)
    fs.renameSync(beside, file)
  })
  if (why !== null) attempt(() => fs.rmSync(beside, { force: true }))
  return why
}

/** Compiled, from disk if it is there, and what the user should know: a cache that cannot be written costs time only. */
export interface Made extends Compiled {
  readonly cached: boolean
  readonly notices: ReadonlyArray<string>
}

/** Compiles through the cache in a folder; null compiles without one. */
export const compileCached = (n: Nvrtc, folder: string | null, u: Unit): Cuda<Made> => {
  const file = folder === null ? null : path.join(folder, `${keyOf(n, u)}.bin`)
  const stored = file === null ? null : read(file)
  const known = stored === null ? null : decode(stored)
  if (known !== null) return E.right({ ...known, cached: true, notices: [] })
  return pipe(
    n.compile(u),
    E.map((c) => {
      const why = file === null ? null : writeWhole(file, encode(c))
      return {
        ...c,
        cached: false,
        notices: why === null ? [] : [`compiled kernels are not kept in ${folder}: ${why}`],
      }
    }),
  )
}
