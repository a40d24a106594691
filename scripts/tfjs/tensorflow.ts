/** TensorFlow's shared libraries and headers: a folder that is given, or the tensorflow-cpu wheel unpacked by pip. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { LIBRARIES } from '../../backends/tfjs/places.ts'
import { run, works, type Step } from './shell.ts'

export const VERSION = '2.21.0'
const MEGABYTES = 274
const GIGABYTES_UNPACKED = '1.2'

/** The wheel is only unpacked, so any pip will do: which Python it was built for does not matter. */
const WHEEL_PYTHON = '3.12'
const MACHINE: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' }

const pip = (): ReadonlyArray<string> | undefined =>
  [['python3', '-m', 'pip'], ['pip3'], ['pip'], ['python', '-m', 'pip']].find(works)

const HEADER = path.join('include', 'tensorflow', 'c', 'c_api.h')

/** What a folder lacks to be TensorFlow. */
const lacking = (folder: string): ReadonlyArray<string> =>
  [...LIBRARIES, HEADER].filter((f) => !fs.existsSync(path.join(folder, f)))

const given = (folder: string): Step<string> => {
  const inner = path.join(folder, 'tensorflow')
  const at = [folder, inner].find((d) => lacking(d).length === 0)
  return at === undefined
    ? E.left(
        `${folder} is not TensorFlow: it lacks ${lacking(folder).join(', ')}; give the folder "tensorflow" of an unpacked wheel`,
      )
    : E.right(path.resolve(at))
}

const fetched = (root: string, say: (line: string) => void): Step<string> => {
  const machine = MACHINE[process.arch]
  if (machine === undefined)
    return E.left(`there is no tensorflow-cpu wheel for ${process.arch}; give --tensorflow FOLDER`)
  const installer = pip()
  if (installer === undefined)
    return E.left(
      'there is no pip to fetch tensorflow-cpu with; install one (apt install python3-pip), or give --tensorflow FOLDER',
    )
  say(`fetching tensorflow-cpu ${VERSION}: ${MEGABYTES} MB, ${GIGABYTES_UNPACKED} GB unpacked`)
  const fresh = fs.mkdtempSync(path.join(root, 'fresh.'))
  try {
    const got = run('tensorflow-cpu', [
      ...installer,
      ...['install', '--disable-pip-version-check', '--quiet', '--no-deps', '--no-compile'],
      ...['--only-binary=:all:', '--python-version', WHEEL_PYTHON],
      ...['--platform', `manylinux_2_27_${machine}`, '--target', fresh],
      `tensorflow-cpu==${VERSION}`,
    ])
    if (E.isLeft(got)) return got
    const to = path.join(root, 'tensorflow')
    const part = path.join(fresh, 'needed')
    fs.mkdirSync(part)
    for (const f of [...LIBRARIES, 'include', 'LICENSE'])
      if (fs.existsSync(path.join(fresh, 'tensorflow', f)))
        fs.renameSync(path.join(fresh, 'tensorflow', f), path.join(part, f))
    const lacks = lacking(part)
    if (lacks.length > 0) return E.left(`the wheel of tensorflow-cpu lacks ${lacks.join(', ')}`)
    fs.rmSync(to, { recursive: true, force: true })
    // Whole or not there: a run that is cut short leaves only its own fresh folder.
    fs.renameSync(part, to)
    return E.right(to)
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true })
  }
}

/** The folder with TensorFlow's libraries and headers. */
export const tensorflow = (
  root: string,
  asked: string | undefined,
  say: (line: string) => void,
): Step<string> => {
  if (asked !== undefined) return given(asked)
  const own = path.join(root, 'tensorflow')
  return lacking(own).length === 0 ? E.right(own) : fetched(root, say)
}
