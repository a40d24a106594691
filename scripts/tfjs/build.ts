/** What is compiled: the package's own binding, and our plugin. Built anew when a source, TensorFlow or the compiler changes. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bindingIn, LIBRARIES, packageIn, pluginIn } from '../../backends/tfjs/places.ts'
import { run, works, type Step } from './shell.ts'

export interface Built {
  readonly file: string
  readonly fresh: boolean
}

export const compiler = (): Step<string> =>
  pipe(
    [process.env['CXX'], 'g++', 'c++', 'clang++'].find(
      (c) => c !== undefined && c !== '' && works([c]),
    ),
    E.fromNullable('there is no C++ compiler; install one (apt install g++), or name it in CXX'),
  )

const link = (target: string, at: string): void => {
  if (fs.lstatSync(at, { throwIfNoEntry: false }) !== undefined) {
    if (fs.readlinkSync(at) === target) return
    fs.rmSync(at)
  }
  fs.symlinkSync(target, at)
}

/** The package links by its own names to what lies in TensorFlow's folder. */
const deps = (folder: string, tensorflow: string): void => {
  const lib = path.join(folder, 'deps', 'lib')
  fs.mkdirSync(lib, { recursive: true })
  link(path.join(tensorflow, 'include'), path.join(folder, 'deps', 'include'))
  for (const l of LIBRARIES) link(path.join(tensorflow, l), path.join(lib, l))
  link('libtensorflow_cc.so.2', path.join(lib, 'libtensorflow.so'))
  link('libtensorflow_framework.so.2', path.join(lib, 'libtensorflow_framework.so'))
}

const sourcesIn = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder)
    .filter((n) => /\.(cc|h)$/.test(n))
    .toSorted()
    .map((n) => path.join(folder, n))

/** One shared library, unless it was built from just this before. */
const library = (
  what: string,
  file: string,
  folder: string,
  tensorflow: string,
  command: ReadonlyArray<string>,
  say: (line: string) => void,
): Step<Built> => {
  const hash = createHash('sha256')
  for (const s of sourcesIn(folder)) hash.update(fs.readFileSync(s))
  const size = fs.statSync(path.join(tensorflow, LIBRARIES[1])).size
  const stamp = hash.update(JSON.stringify([command, tensorflow, size])).digest('hex')
  const stampFile = `${file}.stamp`
  const known = fs.existsSync(file) && fs.existsSync(stampFile)
  if (known && fs.readFileSync(stampFile, 'utf8') === stamp) return E.right({ file, fresh: false })
  say(`building ${what}`)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const made = `${file}.new`
  return pipe(
    run(what, [...command, '-o', made]),
    E.map(() => {
      fs.renameSync(made, file)
      fs.writeFileSync(stampFile, stamp)
      return { file, fresh: true }
    }),
  )
}

const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-shared']

export const binding = (
  root: string,
  tensorflow: string,
  cxx: string,
  say: (line: string) => void,
): Step<Built> => {
  const folder = packageIn(root)
  deps(folder, tensorflow)
  const [source, lib] = [path.join(folder, 'binding'), path.join(folder, 'deps', 'lib')]
  return library(
    'the binding of tfjs-node-gpu',
    bindingIn(folder),
    source,
    tensorflow,
    [
      cxx,
      ...FLAGS,
      ...['-DNAPI_VERSION=8', '-DBUILDING_NODE_EXTENSION', '-w'],
      ...sourcesIn(source).filter((s) => s.endsWith('.cc')),
      ...['-I', folder, '-I', path.join(folder, 'deps', 'include')],
      ...['-I', path.join(root, 'node_modules', 'node-api-headers', 'include')],
      ...['-L', lib, '-ltensorflow', '-ltensorflow_framework'],
      '-Wl,-rpath,$ORIGIN/../../deps/lib',
    ],
    say,
  )
}

export const plugin = (
  root: string,
  sources: string,
  tensorflow: string,
  cxx: string,
  say: (line: string) => void,
): Step<Built> =>
  library(
    'the plugin',
    pluginIn(root),
    sources,
    tensorflow,
    [
      cxx,
      ...FLAGS,
      ...['-Wall', '-Wextra', '-fvisibility=hidden'],
      ...sourcesIn(sources).filter((s) => s.endsWith('.cc')),
      ...['-I', path.join(tensorflow, 'include')],
      ...['-L', tensorflow, '-l:libtensorflow_framework.so.2', '-ldl'],
    ],
    say,
  )
