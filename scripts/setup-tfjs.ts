/**
 * Makes @tensorflow/tfjs-node-gpu work where its own installer cannot, in .tfjs/: the unmodified package, a current
 * TensorFlow out of the tensorflow-cpu wheel, the package's binding built against it. What is there already is kept.
 */
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { FOLDER, PACKAGE, PACKAGE_VERSION, packageIn } from '../backends/tfjs/places.ts'
import { binding, compiler, plugin } from './tfjs/build.ts'
import { run, works, type Step } from './tfjs/shell.ts'
import { tensorflow } from './tfjs/tensorflow.ts'

const project = path.dirname(import.meta.dirname)
const sources = path.join(project, 'backends', 'tfjs', 'plugin')
/** TUNEC_TFJS names another folder, as it does for the backend. */
const root = path.resolve(process.env['TUNEC_TFJS'] ?? path.join(project, FOLDER))

const USAGE = `usage: npm run setup:tfjs [-- --tensorflow FOLDER]

It works in .tfjs, or in the folder that TUNEC_TFJS names, and keeps what is there already.

  --tensorflow FOLDER   TensorFlow's libraries and headers lie there (the folder "tensorflow" of an unpacked
                        wheel, version 2.13 or later); nothing is fetched for it
`

const say = (line: string): void => console.log(line)
const report = (what: string, text: string): void => say(`${what.padEnd(11)} ${text}`)

const HEADERS = 'node-api-headers'
const MEGABYTES = 75

const versionIn = (folder: string): string | null => {
  const file = path.join(folder, 'package.json')
  return fs.existsSync(file)
    ? (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version
    : null
}

/** Its install script would delete what we link and download TensorFlow 2.9. */
const tfjs = (): Step<string> => {
  const there =
    versionIn(packageIn(root)) === PACKAGE_VERSION &&
    versionIn(path.join(root, 'node_modules', HEADERS)) !== null
  if (there) return E.right(packageIn(root))
  if (!works(['npm'])) return E.left('there is no npm to fetch the package with')
  say(`fetching ${PACKAGE} ${PACKAGE_VERSION} and what it depends on: ${MEGABYTES} MB`)
  fs.writeFileSync(path.join(root, 'package.json'), '{ "private": true }\n')
  return pipe(
    run(
      PACKAGE,
      [
        ...['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'],
        ...[`${PACKAGE}@${PACKAGE_VERSION}`, `${HEADERS}@1`],
      ],
      { cwd: root },
    ),
    E.map(() => packageIn(root)),
  )
}

/** In a process of its own, as a program would: a crash there is a message here. */
const verified = (): Step<string> =>
  pipe(
    run(
      'verification',
      [
        process.execPath,
        ...['--import', 'tsx', path.join(project, 'scripts', 'tfjs', 'verify.ts')],
      ],
      { cwd: project, env: { ...process.env, TUNEC_TFJS: root } },
    ),
    E.map((out) => out.trim().split('\n').at(-1)!),
  )

const setUp = (asked: string | undefined): Step<string> =>
  pipe(
    E.Do,
    E.bind('cxx', compiler),
    E.chainFirst(({ cxx }) => E.right(report('compiler', cxx))),
    E.bind('tf', () => tensorflow(root, asked, say)),
    E.chainFirst(({ tf }) => E.right(report('TensorFlow', tf))),
    E.bind('package', tfjs),
    E.chainFirst((x) => E.right(report('tfjs', `${PACKAGE_VERSION}, ${x.package}`))),
    E.bind('binding', ({ cxx, tf }) => binding(root, tf, cxx, say)),
    E.chainFirst((x) => E.right(report('binding', x.binding.file))),
    E.bind('plugin', ({ cxx, tf }) => plugin(root, sources, tf, cxx, say)),
    E.chainFirst((x) => E.right(report('plugin', x.plugin.file))),
    E.chain(verified),
  )

const main = (): number => {
  const { values } = parseArgs({
    options: { tensorflow: { type: 'string' }, help: { type: 'boolean' } },
  })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  if (process.platform !== 'linux') {
    console.error(`error: ${PACKAGE} is set up on Linux only, this is ${process.platform}`)
    return 1
  }
  fs.mkdirSync(root, { recursive: true })
  const done = setUp(values.tensorflow)
  if (E.isLeft(done)) {
    console.error(`error: ${done.left}`)
    return 1
  }
  report('works', done.right)
  return 0
}

process.exitCode = main()
