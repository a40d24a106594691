/**
 * One writer a results folder: `.lock` is a folder with the owner in it.
 *
 * A folder cannot be renamed over one that holds a file, so of all who rename theirs to `.lock` one succeeds, and it is
 * there with its content or not at all. A stale one steps aside under a name that its owner's token makes, and stays
 * there while the new owner works: a second one who found the same owner dead cannot move the new lock there.
 * Whoever was held up so long that it took a living lock all the same is found out: an owner looks before it writes.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { isAlive, ownerCodec, self, type Owner } from './owner.ts'

export interface Lock {
  /** Left: another one has taken the folder over. Asked before everything that is written. */
  readonly check: TE.TaskEither<Issue, void>
}

const LOCK = '.lock'
const OWNER = 'owner.json'
/** Milliseconds between two signs of life. */
const BEAT = 10_000
/** Each loss of a race is another one's gain, so this many in a row do not happen. */
const TRIES = 1000

const lockOf = (results: string): string => join(results, LOCK)
const asideOf = (results: string, name: string): string => join(results, `${LOCK}.${name}`)

const taken: ReadonlySet<unknown> = new Set(['ENOTEMPTY', 'EEXIST', 'EPERM', 'EACCES'])

/** Renames a folder; false where another one has been faster, or has taken it away. */
const moved = (from: string, to: string): Promise<boolean> =>
  fs.rename(from, to).then(
    () => true,
    async (e: unknown) => {
      const code = e instanceof Error && 'code' in e ? e.code : undefined
      if (code === 'ENOENT') return false
      if (taken.has(code) && (await ifExists(() => fs.lstat(to)))) return false
      throw e
    },
  )

/** Who holds a lock, and when it last gave a sign of life; `owner` is null where nobody can be made out. */
interface Held {
  readonly owner: Owner | null
  readonly seen: number
}

const heldBy = async (results: string): Promise<Held | undefined> => {
  const file = join(lockOf(results), OWNER)
  const text = await ifExists(() => fs.readFile(file, 'utf8'))
  const stats = await ifExists(() => fs.stat(text === undefined ? lockOf(results) : file))
  if (stats === undefined) return undefined
  const owner = pipe(
    E.tryCatch(
      () => JSON.parse(text ?? '') as unknown,
      () => undefined,
    ),
    E.chainW(ownerCodec.decode),
    E.getOrElseW(() => null),
  )
  return { owner, seen: stats.mtimeMs }
}

const words = ({ owner, seen }: Held): string => {
  const when = `last sign of life ${new Date(seen).toISOString()}`
  return owner === null
    ? `someone who left no name, ${when}`
    : `process ${owner.pid} on ${owner.host}, since ${owner.since}, ${when}`
}

const inUse = (results: string, held: Held): Issue =>
  issue(`another process writes to this run: ${words(held)}`, {
    file: results,
    expected: 'one process a results folder',
    hint: `wait for it or stop it; if it does not exist any more, remove ${lockOf(results)}`,
  })

/** Writes a lock of our own beside the place. */
const prepare = async (results: string, me: Owner): Promise<string> => {
  const mine = asideOf(results, `${me.token}.tmp`)
  await fs.mkdir(mine, { recursive: true })
  await fs.writeFile(join(mine, OWNER), JSON.stringify(me, null, 1))
  return mine
}

/** Null: the lock is ours. Else the one who holds it. */
const acquire = async (results: string, me: Owner): Promise<Held | null> => {
  let held: Held | undefined
  for (let n = 0; n < TRIES; n++) {
    const mine = await prepare(results, me).catch((e: unknown) => {
      // An owner that ends clears all away, a lock in the making as well.
      if (e instanceof Error && 'code' in e && e.code === 'ENOENT' && n < TRIES - 1) return null
      throw e
    })
    if (mine === null) continue
    if (await moved(mine, lockOf(results))) return null
    held = await heldBy(results)
    if (held === undefined) continue
    if (await isAlive(held.owner, held.seen)) {
      await fs.rm(mine, { recursive: true, force: true })
      return held
    }
    const name = held.owner?.token ?? `${held.seen}`
    await moved(lockOf(results), asideOf(results, `${name}.stale`))
  }
  return held ?? { owner: null, seen: Date.now() }
}

const isOurs = async (results: string, me: Owner): Promise<boolean> =>
  (await heldBy(results))?.owner?.token === me.token

/** Ours is removed, and what others have left behind when they died. */
const release = async (results: string, me: Owner): Promise<void> => {
  if (!(await isOurs(results, me))) return
  for (const name of await fs.readdir(results))
    if (name.startsWith(`${LOCK}.`))
      await fs.rm(join(results, name), { recursive: true, force: true })
  const aside = asideOf(results, `${me.token}.tmp`)
  if (await moved(lockOf(results), aside)) await fs.rm(aside, { recursive: true, force: true })
}

const lockFor = (results: string, me: Owner): Lock => ({
  check: pipe(
    attempt('read the lock', lockOf(results), async () => ({
      ours: await isOurs(results, me),
      held: await heldBy(results),
    })),
    TE.chain(({ ours, held }) =>
      ours
        ? TE.right(undefined)
        : TE.left(
            held === undefined
              ? issue('the lock of this run was removed while it was held', {
                  file: lockOf(results),
                  hint: 'look whether another process writes there, then resume',
                })
              : inUse(results, held),
          ),
    ),
  ),
})

/** Runs `use` as the only writer of a results folder. Left: another process is, and who. */
export const locked =
  <A>(results: string, use: (lock: Lock) => TE.TaskEither<Issue, A>): TE.TaskEither<Issue, A> =>
  async () => {
    const me = await self(randomBytes(6).toString('hex'))
    const got = await attempt('lock the results folder', results, () => acquire(results, me))()
    if (E.isLeft(got)) return got
    if (got.right !== null) return E.left(inUse(results, got.right))
    const beat = setInterval(() => {
      const now = new Date()
      // A missed beat is no failure: `check` finds out whether the lock is still ours.
      fs.utimes(join(lockOf(results), OWNER), now, now).catch(() => undefined)
    }, BEAT)
    beat.unref()
    try {
      return await use(lockFor(results, me))()
    } finally {
      clearInterval(beat)
      // A lock that cannot be removed names a process that will be gone: the next one takes it over.
      await release(results, me).catch(() => undefined)
    }
  }
