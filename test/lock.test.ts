/** One writer a results folder: the second is told who the first is, the dead are followed, nobody writes beside another. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { reference } from '../backends/reference/index.ts'
import { issue, type Issue } from '../src/issue.ts'
import { locked } from '../src/train/lock.ts'
import { train } from '../src/train/train.ts'
import { inFolder } from './cli-child.ts'
import { resumed } from './resume-job.ts'
import { right } from './right.ts'
import { bury, hidden } from './saves.ts'
import { left, planFor, quiet, weightsOf, withBase } from './train-job.ts'

const ownerOf = (folder: string): string => path.join(folder, '.lock', 'owner.json')
const changeOwner = async (folder: string, change: Readonly<Record<string, unknown>>) => {
  const owner = JSON.parse(await fs.readFile(ownerOf(folder), 'utf8')) as object
  await fs.writeFile(ownerOf(folder), JSON.stringify({ ...owner, ...change }))
}

const fine = TE.right<Issue, string>('done')
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Leaves a lock behind, as a process that dies leaves it. */
const abandon = async (folder: string): Promise<void> => {
  const kept = `${folder}.lock`
  right(
    await locked(folder, () =>
      TE.fromTask(() => fs.cp(path.join(folder, '.lock'), kept, { recursive: true })),
    )(),
  )
  await fs.rename(kept, path.join(folder, '.lock'))
}

test('while one holds it the second is refused and told who; afterwards it is free', () =>
  inFolder(async (folder) => {
    const second = await locked(folder, () => TE.fromTask(() => locked(folder, () => fine)()))()
    const refused = left(right(second))
    assert.match(
      refused.message,
      new RegExp(`^another process writes to this run: process ${process.pid} on \\S+, since 2`),
    )
    assert.match(refused.hint!, /remove .*\.lock$/)
    assert.equal(refused.file, folder)
    assert.equal(right(await locked(folder, () => fine)()), 'done')
    assert.deepEqual(await fs.readdir(folder), [])
  }))

test('a failure and an exception release it, too', () =>
  inFolder(async (folder) => {
    left(await locked(folder, () => TE.left(issue('no')))())
    await assert.rejects(
      locked(folder, () => () => Promise.reject(new Error('thrown')))(),
      /thrown/,
    )
    assert.deepEqual(await fs.readdir(folder), [])
  }))

test('the lock of a process that died is taken over, of one that lives it is not', () =>
  inFolder(async (folder) => {
    await abandon(folder)
    // As long as this process lives, the lock names a living one.
    left(await locked(folder, () => fine)())
    await bury(folder)
    assert.equal(right(await locked(folder, () => fine)()), 'done')
    await abandon(folder)
    const ended = spawn(process.execPath, ['-e', ''])
    await new Promise((resolve) => ended.on('close', resolve))
    await changeOwner(folder, { pid: ended.pid })
    assert.equal(right(await locked(folder, () => fine)()), 'done')
    assert.deepEqual(await fs.readdir(folder), [])
  }))

test('of another machine, and where no name can be read, a long silence decides', () =>
  inFolder(async (folder) => {
    const spoil: ReadonlyArray<readonly [RegExp, () => Promise<void>]> = [
      [/process \d+ on elsewhere/, () => changeOwner(folder, { realm: 'x', host: 'elsewhere' })],
      [/someone who left no name/, () => fs.writeFile(ownerOf(folder), '{"pid":')],
    ]
    for (const [who, change] of spoil) {
      await abandon(folder)
      await change()
      assert.match(left(await locked(folder, () => fine)()).message, who)
      for (const at of [path.join(folder, '.lock'), ownerOf(folder)])
        await fs.utimes(at, 1, 1).catch(() => undefined)
      assert.equal(right(await locked(folder, () => fine)()), 'done')
      assert.deepEqual(await fs.readdir(folder), [])
    }
  }))

test('of many who find a dead owner one gets the lock at a time, and each other is told', () =>
  inFolder(async (folder) => {
    for (let round = 0; round < 20; round++) {
      await abandon(folder)
      await bury(folder)
      let [inside, most, done] = [0, 0, 0]
      const use = () =>
        TE.fromTask(async () => {
          inside += 1
          most = Math.max(most, inside)
          for (let i = 0; i < 20; i++) await pause()
          inside -= 1
          done += 1
        })
      const all = await Promise.all(Array.from({ length: 12 }, () => locked(folder, use)()))
      assert.equal(most, 1)
      assert.ok(done >= 1)
      assert.equal(all.filter(E.isRight).length, done)
      for (const e of all)
        if (E.isLeft(e)) assert.match(e.left.message, /another process writes to this run/)
      assert.deepEqual(await fs.readdir(folder), [])
    }
  }))

const resultsOf = (folder: string): string => path.join(folder, 'results', 'experiment_run')

/** The bytes of a run nobody touched, and a run that was stopped half-way. */
const halfRun = async (folder: string): Promise<Buffer> => {
  const { options } = quiet(folder)
  const done = right(await train(planFor(folder, resumed), reference, options)())
  const expected = await weightsOf(done.adapterFolder!)
  await fs.rm(done.resultsFolder, { recursive: true })
  const again = quiet(folder)
  const stop = (): boolean => again.events.filter((e) => e._tag === 'step').length >= 3
  right(await train(planFor(folder, resumed), reference, { ...again.options, stop })())
  return expected
}

test('two resumptions at once in one process: one runs to its end, the other is told who', () =>
  withBase(async (folder) => {
    const expected = await halfRun(folder)
    const go = () =>
      train(
        planFor(folder, resumed),
        reference,
        quiet(folder, { resume: resultsOf(folder) }).options,
      )()
    const both = await Promise.all([go(), go()])
    const [refused] = both.filter(E.isLeft)
    assert.equal(both.filter(E.isRight).length, 1)
    assert.match(refused!.left[0].message, new RegExp(`: process ${process.pid} on `))
    assert.deepEqual(
      await weightsOf(path.join(resultsOf(folder), 'model', 'model_weights')),
      expected,
    )
    assert.deepEqual(await hidden(resultsOf(folder)), [])
  }))

interface Child {
  readonly pid: number
  readonly code: number | null
  readonly err: string
}

const child = (folder: string): Promise<Child> =>
  new Promise((resolve, reject) => {
    const file = path.join(import.meta.dirname, 'train-child.ts')
    const args = ['--import', 'tsx', file, folder, resultsOf(folder)]
    const p = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let err = ''
    p.stderr.on('data', (text: Buffer) => (err += text.toString()))
    p.on('error', reject)
    p.on('close', (code) => resolve({ pid: p.pid!, code, err }))
  })

test('processes that resume one folder at once: the run ends in the same bytes, and no two write', () =>
  withBase(async (folder) => {
    const expected = await halfRun(folder)
    const all = await Promise.all([child(folder), child(folder), child(folder)])
    const done = all.filter((c) => c.code === 0)
    assert.ok(done.length >= 1, all.map((c) => c.err).join('\n'))
    for (const c of all.filter((x) => x.code !== 0)) {
      const [, pid] = /another process writes to this run: process (\d+) on/.exec(c.err) ?? []
      assert.ok(
        all.some((other) => other !== c && String(other.pid) === pid),
        c.err,
      )
    }
    assert.deepEqual(
      await weightsOf(path.join(resultsOf(folder), 'model', 'model_weights')),
      expected,
    )
    assert.deepEqual(await hidden(resultsOf(folder)), [])
  }))

for (const [what, spoil, expected] of [
  [
    'taken over',
    (lock: string) => {
      const file = path.join(lock, 'owner.json')
      const owner = JSON.parse(readFileSync(file, 'utf8')) as object
      writeFileSync(
        file,
        JSON.stringify({ ...owner, token: 'other', pid: 4242, host: 'elsewhere' }),
      )
    },
    /another process writes to this run: process 4242 on elsewhere/,
  ],
  [
    'removed',
    (lock: string) => rmSync(lock, { recursive: true }),
    /the lock of this run was removed while it was held/,
  ],
] as const)
  test(`a run whose lock is ${what} writes nothing more`, () =>
    withBase(async (folder) => {
      const results = resultsOf(folder)
      const latest = path.join(results, 'model', 'training_checkpoints', 'latest', 'progress.json')
      const { options } = quiet(folder)
      let stood: string | null = null
      const stop = (): boolean => {
        if (stood === null) spoil(path.join(results, '.lock'))
        stood ??= readFileSync(latest, 'utf8')
        return false
      }
      const ended = await train(planFor(folder, resumed), reference, { ...options, stop })()
      assert.match(left(ended)[0].message, expected)
      assert.equal(await fs.readFile(latest, 'utf8'), stood)
    }))
