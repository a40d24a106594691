/** Attempts of one kind, numbered: number and seed alone decide what is damaged and how. */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { random } from '../src/data/random.ts'
import { kinds, type Kind } from './fuzz-kinds.ts'

export interface Counts {
  readonly accepted: number
  readonly refused: number
}

/** Throws, with number and kind, at the first that is answered by anything but a refusal or the same meaning. */
export const fuzz = async (
  kind: Kind,
  seed: number,
  from: number,
  count: number,
  before: (number: number) => void = () => {},
): Promise<Counts> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), `tunec-fuzz-${kind}-`))
  try {
    const attempt = await kinds[kind](folder)
    const salt = Object.keys(kinds).indexOf(kind)
    let accepted = 0
    for (let n = from; n < from + count; n++) {
      before(n)
      try {
        if (await attempt(random(seed, salt, n))) accepted += 1
      } catch (e) {
        const why = e instanceof Error ? (e.stack ?? e.message) : String(e)
        throw new Error(`${kind} ${n} of seed ${seed}: ${why}`, { cause: e })
      }
    }
    return { accepted, refused: count - accepted }
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}
