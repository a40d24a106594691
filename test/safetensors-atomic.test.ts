/** Files and folders stay whole when the world ends at any change of the disk. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../src/issue.ts'
import { issue } from '../src/issue.ts'
import { atomicFolder, atomicWrite, currentFolder } from '../src/tensors/atomic.ts'
import { inFolder, left, right } from './safetensors-arbitrary.ts'
import { type Call, crashAfter, gated, osError, withoutSync } from './safetensors-faults.ts'

/** A folder with a file, and one in a folder inside; written by calls that no gate sees. */
const fillWith =
  (text: string) =>
  (folder: string): TE.TaskEither<Issue, void> =>
    TE.fromTask(async () => {
      await writeFile(join(folder, 'weights'), text.repeat(3))
      await mkdir(join(folder, 'state'))
      await writeFile(join(folder, 'state', 'step'), text)
    })

/** The text that the folder was filled with; fails where it is not complete. */
const contentOf = async (folder: string): Promise<string> => {
  const text = await readFile(join(folder, 'state', 'step'), 'utf8')
  assert.deepEqual((await readdir(folder)).toSorted(), ['state', 'weights'])
  assert.deepEqual(await readdir(join(folder, 'state')), ['step'])
  assert.equal(await readFile(join(folder, 'weights'), 'utf8'), text.repeat(3))
  return text
}

const current = async (folder: string): Promise<string | undefined> => {
  const found = await currentFolder(folder)()
  return E.isRight(found) ? contentOf(found.right) : undefined
}

const replace = (folder: string, text: string): Promise<void> =>
  gated(withoutSync, () => right(atomicFolder(folder, fillWith(text))))

/** Replaces the folder, and lets the world end after `changes`; true if it came to its end before. */
const replaceUntil = async (
  folder: string,
  text: string,
  changes: number,
  halfway: boolean,
): Promise<boolean> => {
  const crash = crashAfter(changes, halfway)
  await gated(crash, () => atomicFolder(folder, fillWith(text))())
  return crash.changes() <= changes
}

test('a folder is written, replaced, and leaves nothing behind', async () => {
  await inFolder(async (around) => {
    const folder = join(around, 'model')
    for (const text of ['one', 'two', 'three']) {
      await right(atomicFolder(folder, fillWith(text)))
      assert.equal(await contentOf(folder), text)
      assert.equal(await right(currentFolder(folder)), folder)
      assert.deepEqual(await readdir(around), ['model'])
    }
  })
})

for (const halfway of [false, true])
  for (const old of [undefined, 'old'])
    test(`a crash at any change leaves ${old ?? 'no'} folder or the new one (${halfway ? 'halfway' : 'before'})`, async () => {
      const seen = new Set<string | undefined>()
      for (let changes = 0, ended = false; !ended; changes++)
        await inFolder(async (around) => {
          const folder = join(around, 'model')
          if (old !== undefined) await replace(folder, old)
          ended = await replaceUntil(folder, 'new', changes, halfway)
          const found = await current(folder)
          assert.ok(found === old || found === 'new', `${found} after ${changes} changes`)
          seen.add(found)
          await replace(folder, 'next')
          assert.equal(await contentOf(folder), 'next')
          assert.deepEqual(await readdir(around), ['model'], `after ${changes} changes`)
        })
      assert.deepEqual(seen, new Set([old, 'new']))
    })

test('a second crash during the call that mends the first leaves a whole folder, too', async () => {
  for (let first = 0, firstEnded = false; !firstEnded; first++)
    for (let second = 0, ended = false; !ended; second++)
      await inFolder(async (around) => {
        const folder = join(around, 'model')
        await replace(folder, 'old')
        firstEnded = await replaceUntil(folder, 'new', first, true)
        const between = await current(folder)
        ended = await replaceUntil(folder, 'next', second, true)
        const found = await current(folder)
        assert.ok(found === between || found === 'next', `${between}, then ${found}`)
        await replace(folder, 'last')
        assert.deepEqual(await readdir(around), ['model'])
      })
})

test('one failing call leaves the old folder, an issue, and nothing else', async () => {
  for (let failing = 1, ended = false; !ended; failing++)
    await inFolder(async (around) => {
      const folder = join(around, 'model')
      await replace(folder, 'old')
      let calls = 0
      const failed = await gated(
        (call, proceed) => {
          calls++
          if (calls !== failing) return withoutSync(call, proceed)
          return call.name === 'close'
            ? proceed().then(() => Promise.reject(osError('ENOSPC')))
            : Promise.reject(osError('ENOSPC'))
        },
        () => atomicFolder(folder, fillWith('new'))(),
      )
      ended = calls < failing
      const text = await contentOf(folder)
      if (E.isRight(failed)) return assert.equal(text, 'new')
      assert.match(failed.left.message, /the disk is full/)
      assert.equal(failed.left.file, folder)
      await replace(folder, 'next')
      return assert.deepEqual(await readdir(around), ['model'])
    })
})

test('everything is synced before it is renamed, and every rename before the next', async () => {
  await inFolder(async (around) => {
    const folder = join(around, 'model')
    await replace(folder, 'old')
    const log: Array<Call> = []
    await gated(
      (call, proceed) => {
        log.push(call)
        return proceed()
      },
      () => right(atomicFolder(folder, fillWith('new'))),
    )
    const at = (name: string, path: string): number =>
      log.findIndex((call) => call.name === name && call.path === path)
    const filled = log.find((call) => call.name === 'mkdir')?.path ?? assert.fail('no folder made')
    const inside = ['', 'weights', 'state', 'state/step'].map((name) => join(filled, name))
    for (const path of inside) {
      assert.ok(at('sync', path) >= 0, `${path} is not synced`)
      assert.ok(at('sync', path) < at('rename', folder), `${path} is synced too late`)
    }
    assert.ok(at('sync', filled) > at('sync', join(filled, 'state')))
    const steps = log
      .filter(({ name, path }) => name === 'rename' || name === 'rm' || path === around)
      .filter(({ name }) => ['rename', 'rm', 'sync'].includes(name))
    assert.deepEqual(
      steps.map(({ name }) => name),
      ['rename', 'sync', 'rename', 'sync', 'rename', 'sync', 'rm'],
    )
  })
})

test('the issue of `fill` comes through, and the old folder stands', async () => {
  await inFolder(async (around) => {
    const folder = join(around, 'model')
    const failing = (): TE.TaskEither<Issue, void> => TE.left(issue('no weights today'))
    assert.equal((await left(atomicFolder(folder, failing))).message, 'no weights today')
    assert.deepEqual(await readdir(around), [])
    await replace(folder, 'old')
    await left(atomicFolder(folder, failing))
    assert.equal(await contentOf(folder), 'old')
    assert.deepEqual(await readdir(around), ['model'])
  })
})

test('files, links and missing places are not replaced by a folder', async () => {
  await inFolder(async (around) => {
    const file = join(around, 'file')
    const link = join(around, 'link')
    await writeFile(file, 'text')
    await symlink(around, link)
    assert.match((await left(atomicFolder(file, fillWith('new')))).message, /not a folder/)
    assert.match((await left(atomicFolder(link, fillWith('new')))).message, /not a folder/)
    assert.equal(await readFile(file, 'utf8'), 'text')
    const lost = join(around, 'no', 'model')
    assert.match(
      (await left(atomicFolder(lost, fillWith('new')))).message,
      /no such file or folder/,
    )
    assert.match((await left(currentFolder(lost))).message, /no such file or folder/)
  })
})

test('names that only look like leftovers are left alone', async () => {
  await inFolder(async (around) => {
    const others = [
      '.model.tmp',
      '.model.0123456789ab.tmpx',
      '.other.0123456789ab.tmp',
      'model.old',
    ]
    for (const name of others) await writeFile(join(around, name), '')
    await writeFile(join(around, '.model.0123456789ab.tmp'), '')
    await right(atomicFolder(join(around, 'model'), fillWith('new')))
    assert.deepEqual((await readdir(around)).toSorted(), [...others, 'model'].toSorted())
  })
})

test('a crash at any change leaves the old file or the new one', async () => {
  for (const halfway of [false, true])
    for (let changes = 0, ended = false; !ended; changes++)
      await inFolder(async (around) => {
        const path = join(around, 'file')
        await writeFile(path, 'old')
        const crash = crashAfter(changes, halfway)
        await gated(crash, () => atomicWrite(path, Buffer.from('new bytes'))())
        ended = crash.changes() <= changes
        assert.ok(['old', 'new bytes'].includes(await readFile(path, 'utf8')))
        await gated(withoutSync, () => right(atomicWrite(path, Buffer.from('next'))))
        assert.equal(await readFile(path, 'utf8'), 'next')
        assert.deepEqual(await readdir(around), ['file'])
      })
})

test('a file is written and synced, renamed, and its folder synced', async () => {
  await inFolder(async (around) => {
    const log: Array<Call> = []
    const path = join(around, 'file')
    await gated(
      (call, proceed) => {
        log.push(call)
        return proceed()
      },
      () => right(atomicWrite(path, Buffer.from('bytes'))),
    )
    const steps = log.filter(({ name }) => ['write', 'sync', 'rename'].includes(name))
    const temporary = steps[0]?.path ?? ''
    assert.equal(dirname(temporary), around)
    assert.deepEqual(
      steps.map(({ name, path: at, to }) => [name, at, to]),
      [
        ['write', temporary, undefined],
        ['sync', temporary, undefined],
        ['rename', temporary, path],
        ['sync', around, undefined],
      ],
    )
  })
})

test('a full disk is an issue that names the file, and the old file stands', async () => {
  await inFolder(async (around) => {
    const path = join(around, 'file')
    await right(atomicWrite(path, Buffer.from('old')))
    const full = await gated(
      (call, proceed) =>
        call.name === 'write'
          ? Promise.resolve(call.part?.()).then(() => Promise.reject(osError('ENOSPC')))
          : proceed(),
      () => left(atomicWrite(path, Buffer.from('new'))),
    )
    assert.equal(full.message, 'cannot write the file: the disk is full')
    assert.equal(full.file, path)
    assert.deepEqual(await readdir(around), ['file'])
    assert.equal(await readFile(path, 'utf8'), 'old')
    const lost = await left(atomicWrite(join(around, 'no', 'file'), Buffer.from('x')))
    assert.equal(lost.file, join(around, 'no', 'file'))
    await mkdir(join(around, 'folder'))
    assert.match((await left(atomicWrite(join(around, 'folder'), Buffer.of()))).message, /folder/)
  })
})
