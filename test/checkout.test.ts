import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

const root = path.join(import.meta.dirname, '..')
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8')
const isRepository = fs.existsSync(path.join(root, '.git'))

const ignored = (file: string): boolean => {
  try {
    execFileSync('git', ['check-ignore', '-q', '--no-index', file], { cwd: root })
    return true
  } catch (e) {
    assert.equal((e as { status?: number }).status, 1, `git check-ignore ${file}`)
    return false
  }
}

for (const page of ['README.md', 'ARCHITECTURE.md', 'bench/results/README.md'])
  test(`what ${page} links to is in the repository`, () => {
    const targets = [...read(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map((m) => m[1]!)
      .filter((t) => !/^[a-z]+:/.test(t))
    for (const t of targets) {
      const file = path.join(path.dirname(page), t)
      assert.ok(fs.existsSync(path.join(root, file)), `${page} links to ${t}, which is not there`)
      if (isRepository) assert.ok(!ignored(file), `${page} links to ${t}, which git ignores`)
    }
  })

test('runs and builds are ignored, results of benches are not', { skip: !isRepository }, () => {
  for (const f of ['results/experiment_run/x', 'node_modules/x', 'dist/x', '.cuda/x', 'a-1.tgz'])
    assert.ok(ignored(f), f)
  assert.ok(!ignored('bench/results/cpu.txt'))
})

interface Entry {
  readonly hasInstallScript?: boolean
  readonly libc?: unknown
  readonly resolved?: string
  readonly link?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const lock = (): ReadonlyArray<readonly [string, Entry]> =>
  Object.entries(
    (JSON.parse(read('package-lock.json')) as { packages: Readonly<Record<string, Entry>> })
      .packages,
  ).filter(([name]) => name !== '')

test('the lock file holds the packages of every platform', () => {
  const names = new Set(lock().map(([name]) => name.replace(/^.*node_modules\//, '')))
  const missing = lock().flatMap(([name, e]) =>
    Object.keys(e.optionalDependencies ?? {})
      .filter((d) => !names.has(d))
      .map((d) => `${d} of ${name}`),
  )
  assert.deepEqual(
    missing,
    [],
    'npm install without node_modules and package-lock.json, then `npm run lock`',
  )
})

test('no npm rewrites the lock file, and it starts no install script and names no registry', () => {
  const wrong = lock()
    .filter(([, e]) => e.hasInstallScript || e.libc !== undefined || e.resolved !== undefined)
    .map(([name]) => name)
  assert.deepEqual(wrong, [], 'run `npm run lock`')
})

test('npm knows every key of .npmrc', () => {
  const env = { ...process.env, npm_config_loglevel: 'warn' }
  const said = execFileSync('npm pkg get name 2>&1', { cwd: root, env, shell: true }).toString()
  assert.match(said, /"tunec"/)
  assert.doesNotMatch(said, /Unknown project config/)
})
