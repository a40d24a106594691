import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

/**
 * A project with tunec in its node_modules, as npm lays it out before install scripts run, beside the real install
 * script of onnxruntime-node, whose way to the network is replaced by a sentence.
 */
const repository = path.join(import.meta.dirname, '..')
const engine = path.join('node_modules', 'onnxruntime-node')

const write = (file: string, text: string): void => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

const inProject = (
  manifest: object,
  others: Readonly<Record<string, object>>,
  run: (project: string) => void,
): void => {
  const project = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-preinstall-'))
  try {
    write(path.join(project, 'package.json'), JSON.stringify(manifest))
    for (const [folder, m] of Object.entries(others))
      write(path.join(project, 'node_modules', folder, 'package.json'), JSON.stringify(m))
    write(
      path.join(project, 'node_modules', 'tunec', 'package.json'),
      JSON.stringify({ name: 'tunec', dependencies: { 'onnxruntime-node': '*' } }),
    )
    fs.cpSync(
      path.join(repository, 'scripts', 'preinstall.mjs'),
      path.join(project, 'node_modules', 'tunec', 'scripts', 'preinstall.mjs'),
    )
    fs.cpSync(path.join(repository, engine, 'script'), path.join(project, engine, 'script'), {
      recursive: true,
    })
    write(
      path.join(project, 'network.cjs'),
      "require('https').get = () => { console.log('downloads'); process.exit(9) }",
    )
    run(project)
  } finally {
    fs.rmSync(project, { recursive: true })
  }
}

const npmRuns = (
  project: string,
  name: string,
  args: ReadonlyArray<string>,
  more: Readonly<Record<string, string>> = {},
): string => {
  const cwd = path.join(project, 'node_modules', name)
  const inherited = Object.entries(process.env).filter(([k]) => !/^(npm_|ONNXRUNTIME)/i.test(k))
  const env = {
    ...Object.fromEntries(inherited),
    npm_config_local_prefix: project,
    npm_package_json: path.join(cwd, 'package.json'),
    // The helpers of the real script (its zip reader and its proxy) are the repository's own.
    NODE_PATH: path.join(repository, 'node_modules'),
    ...more,
  }
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd, env, encoding: 'utf8' })
  return stdout + stderr
}

const ours = (project: string, more = {}): string =>
  npmRuns(project, 'tunec', ['scripts/preinstall.mjs'], more)

const theirs = (project: string, more = {}): string =>
  npmRuns(
    project,
    'onnxruntime-node',
    ['--require', path.join(project, 'network.cjs'), './script/install'],
    more,
  )

const placed = (project: string): boolean => fs.existsSync(path.join(project, engine, 'bin'))
const only = process.platform === 'linux' && process.arch === 'x64'
const skip = only ? false : 'onnxruntime-node downloads something on linux/x64 only'

test('a project that depends on tunec downloads no CUDA build', { skip }, () => {
  inProject({ name: 'p', dependencies: { tunec: '*' } }, {}, (project) => {
    assert.match(theirs(project), /downloads/, 'the script of this version no longer downloads')
    assert.equal(ours(project), '')
    assert.equal(theirs(project), '')
    assert.match(theirs(project, { ONNXRUNTIME_NODE_INSTALL: 'true' }), /downloads/)
  })
})

test('whoever else wants onnxruntime-node gets it as it comes', { skip }, () => {
  const asks = { dependencies: { 'onnxruntime-node': '*' } }
  const quiet = { name: 'p', dependencies: { tunec: '*' } }
  const cases: ReadonlyArray<readonly [object, Readonly<Record<string, object>>, object]> = [
    [{ name: 'p', devDependencies: { 'onnxruntime-node': '*' } }, {}, {}],
    [quiet, { a: { name: 'a', ...asks } }, {}],
    [quiet, { '@scope/a': { name: '@scope/a', ...asks } }, {}],
    [quiet, { 'a/node_modules/b': { name: 'b', ...asks } }, {}],
    [quiet, {}, { ONNXRUNTIME_NODE_INSTALL: 'cuda12' }],
  ]
  for (const [manifest, others, env] of cases)
    inProject(manifest, others, (project) => {
      assert.equal(ours(project, env), '')
      assert.ok(!placed(project), JSON.stringify([manifest, others, env]))
      assert.match(theirs(project, env), /downloads/)
    })
})

test('an engine laid out differently is named and fails no install', () => {
  inProject({ name: 'p' }, {}, (project) => {
    fs.rmSync(path.join(project, engine, 'script', 'install-metadata.js'))
    assert.match(ours(project), /^tunec: could not keep onnxruntime-node from downloading/)
  })
})
