/** Where shared libraries of CUDA lie: what setup:cuda fetched, the system's, a toolkit's, conda's and pip's. */
import fs from 'node:fs'
import path from 'node:path'

/** What decides where to look. Whoever calls reads the environment. */
export interface Where {
  /** Folders of TUNEC_CUDA, separated as PATH is: they come first. */
  readonly override?: string | undefined
  readonly cwd: string
  /** A folder of this package: .cuda is looked for beside it and above. */
  readonly here: string
  readonly home?: string | undefined
  readonly path?: string | undefined
  readonly virtualEnv?: string | undefined
  readonly conda?: string | undefined
  /** Prefix of the system's folders; empty but in tests. */
  readonly root: string
  /** Whether the loader's own search is asked last. */
  readonly loader: boolean
}

export type Env = Readonly<Record<string, string | undefined>>

export const whereOf = (env: Env, cwd: string): Where => ({
  override: env['TUNEC_CUDA'],
  cwd,
  here: import.meta.dirname,
  home: env['HOME'],
  path: env['PATH'],
  virtualEnv: env['VIRTUAL_ENV'],
  conda: env['CONDA_PREFIX'],
  root: '',
  loader: true,
})

const list = (folder: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(folder).toSorted()
  } catch {
    return []
  }
}

const under = (folder: string, name: RegExp): ReadonlyArray<string> =>
  list(folder)
    .filter((n) => name.test(n))
    .map((n) => path.join(folder, n))

/** `lib` folders of NVIDIA's wheels in a folder of packages: nvidia/cu13/lib and nvidia/cuda_nvrtc/lib. */
const wheels = (packages: string): ReadonlyArray<string> =>
  under(path.join(packages, 'nvidia'), /^/)
    .map((d) => path.join(d, 'lib'))
    .toSorted((a, b) => Number(/\/cu\d+\//.test(b)) - Number(/\/cu\d+\//.test(a)))

const sitesOf = (prefix: string): ReadonlyArray<string> =>
  ['lib', 'lib64'].flatMap((lib) =>
    under(path.join(prefix, lib), /^python3/).flatMap((p) => [
      path.join(p, 'site-packages'),
      path.join(p, 'dist-packages'),
    ]),
  )

/** Prefix of the python3 that a shell would run, found without running it; pyenv's shims lead to its versions. */
const pythons = (w: Where): ReadonlyArray<string> =>
  (w.path ?? '')
    .split(path.delimiter)
    .filter((d) => d !== '')
    .flatMap((d) => {
      if (path.basename(d) === 'shims')
        return under(path.join(path.dirname(d), 'versions'), /^3/).toReversed()
      const python = path.join(d, 'python3')
      if (!fs.existsSync(python)) return []
      // A virtual environment's own folder comes before the interpreter it links to.
      return [path.dirname(d), path.dirname(path.dirname(fs.realpathSync(python)))]
    })

const unique = (xs: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(xs)]

/** Folders that hold packages of Python. */
const sites = (w: Where): ReadonlyArray<string> =>
  unique([
    ...(w.virtualEnv === undefined ? [] : sitesOf(w.virtualEnv)),
    ...(w.conda === undefined ? [] : sitesOf(w.conda)),
    ...pythons(w).flatMap(sitesOf),
    ...(w.home === undefined ? [] : sitesOf(path.join(w.home, '.local'))),
    ...sitesOf(`${w.root}/usr/local`),
    `${w.root}/usr/lib/python3/dist-packages`,
  ])

/** The project's own .cuda, beside the working folder and beside this package. */
const fetched = (w: Where): ReadonlyArray<string> => {
  const up = (folder: string): ReadonlyArray<string> =>
    path.dirname(folder) === folder ? [folder] : [folder, ...up(path.dirname(folder))]
  return unique([w.cwd, ...up(w.here)]).map((d) => path.join(d, '.cuda'))
}

/** Folders to look in, first come first; only those that exist. */
export const folders = (w: Where): ReadonlyArray<string> => {
  const system = (d: string) => `${w.root}${d}`
  const toolkits = [
    system('/usr/local/cuda'),
    ...under(system('/usr/local'), /^cuda-/).toReversed(),
    system('/opt/cuda'),
  ].flatMap((d) => [path.join(d, 'lib64'), path.join(d, 'targets/x86_64-linux/lib')])
  return unique([
    ...(w.override ?? '').split(path.delimiter).filter((d) => d !== ''),
    ...fetched(w).flatMap(wheels),
    system('/usr/local/nvidia/lib64'),
    ...toolkits,
    system('/usr/lib/x86_64-linux-gnu'),
    system('/usr/lib64'),
    system('/usr/lib/wsl/lib'),
    ...(w.conda === undefined ? [] : [path.join(w.conda, 'lib')]),
    ...sites(w).flatMap(wheels),
  ]).filter((d) => fs.existsSync(d))
}
