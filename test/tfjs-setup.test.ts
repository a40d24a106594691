/** Where TensorFlow is not, or not whole: an error with its reason and the mend, and nothing is fetched. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { bindingIn, find, PACKAGE, packageIn, whereOf } from '../backends/tfjs/places.ts'

const project = path.dirname(import.meta.dirname)
const folder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-tfjs-'))

const setUp = (env: NodeJS.ProcessEnv, ...args: ReadonlyArray<string>) => {
  const root = folder()
  const r = spawnSync(
    process.execPath,
    ['--import', 'tsx', path.join(project, 'scripts', 'setup-tfjs.ts'), ...args],
    { cwd: project, encoding: 'utf8', env: { ...process.env, TUNEC_TFJS: root, ...env } },
  )
  const left = fs.readdirSync(root)
  fs.rmSync(root, { recursive: true })
  return { code: r.status, out: r.stdout, err: r.stderr, left }
}

/** A PATH on which a C++ compiler answers and nothing else is. */
const onlyCompiler = (): string => {
  const bin = folder()
  fs.writeFileSync(path.join(bin, 'g++'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  return bin
}

test('setup:tfjs says what is missing, and fetches nothing before it knows', () => {
  const cases = [
    [setUp({ PATH: folder(), CXX: '' }), /no C\+\+ compiler; install one/],
    [
      setUp({ PATH: `${onlyCompiler()}:/none` }),
      /no pip to fetch tensorflow-cpu with; install one/,
    ],
    [setUp({}, '--tensorflow', folder()), /is not TensorFlow: it lacks libtensorflow_framework/],
  ] as const
  for (const [r, message] of cases) {
    assert.equal(r.code, 1)
    assert.match(r.err, message)
    assert.match(r.err, /^error: /m)
    assert.doesNotMatch(r.err, /^\s+at /m)
    assert.doesNotMatch(r.out, /fetching/)
    assert.deepEqual(r.left, [])
  }
})

test('the package is looked for beside the working folder, beside the compiler, and where TUNEC_TFJS says', () => {
  const root = folder()
  const why = (w: Partial<Parameters<typeof find>[0]>): string => {
    const found = find({ override: undefined, cwd: root, here: root, ...w })
    return 'why' in found ? found.why : `found ${found.home.folder}`
  }
  assert.match(why({}), new RegExp(`^${PACKAGE} is not set up; .npm run setup:tfjs.`))
  assert.match(why({ override: root }), /^TUNEC_TFJS names .*, where @tensorflow/)
  const at = packageIn(path.join(root, '.tfjs'))
  fs.mkdirSync(path.dirname(bindingIn(at)), { recursive: true })
  fs.writeFileSync(path.join(at, 'package.json'), '{}')
  assert.match(why({}), /has no native binding \(lib.napi-v8.tfjs_binding.node\)/)
  fs.writeFileSync(bindingIn(at), '')
  const inner = path.join(root, 'a', 'b')
  for (const w of [{}, { here: inner, cwd: '/' }, { override: path.join(root, '.tfjs') }])
    assert.equal(why(w), `found ${at}`)
  assert.match(why({ here: '/', cwd: '/' }), /not set up/)
  // As it is written in a shell: from the folder one is in.
  assert.equal(why(whereOf({ TUNEC_TFJS: '.tfjs' }, root)), `found ${at}`)
  fs.rmSync(root, { recursive: true })
})
