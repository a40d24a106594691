/** Which process holds a lock, and whether it still lives. */
import fs from 'node:fs/promises'
import os from 'node:os'
import * as t from 'io-ts'

export const ownerCodec = t.readonly(
  t.strict({
    pid: t.number,
    host: t.string,
    /** Tells where process numbers mean the same: one boot of one machine, or one container on it. */
    realm: t.string,
    /** When the process began, by the system's count: a number that was given out again belongs to another. */
    started: t.string,
    /** When it took the lock. */
    since: t.string,
    token: t.string,
  }),
)
export type Owner = t.TypeOf<typeof ownerCodec>

/** Longer than a step takes during which the event loop stands still; milliseconds. */
const SILENCE = 15 * 60_000

const orNothing = (text: Promise<string>): Promise<string> => text.catch(() => '')

/** Linux says when a process began, in the 22nd field; the second is a name in brackets that may hold anything. */
const startOf = async (pid: number): Promise<string> => {
  const stat = await orNothing(fs.readFile(`/proc/${pid}/stat`, 'utf8'))
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

const realm = async (): Promise<string> => {
  const boot = await orNothing(fs.readFile('/proc/sys/kernel/random/boot_id', 'utf8'))
  const space = await orNothing(fs.readlink('/proc/self/ns/pid'))
  return [os.hostname(), boot.trim(), space].join(' ')
}

/** This process as the owner of a lock. */
export const self = async (token: string): Promise<Owner> => ({
  pid: process.pid,
  host: os.hostname(),
  realm: await realm(),
  started: await startOf(process.pid),
  since: new Date().toISOString(),
  token,
})

const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (e) {
    // Another user's process is one, too.
    return e instanceof Error && 'code' in e && e.code === 'EPERM'
  }
}

/** Where the process can be asked for, it is; elsewhere its silence decides. */
export const isAlive = async (owner: Owner | null, seen: number): Promise<boolean> =>
  owner !== null && owner.realm === (await realm())
    ? runs(owner.pid) && (await startOf(owner.pid)) === owner.started
    : Date.now() - seen < SILENCE
