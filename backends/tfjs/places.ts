/** Where `npm run setup:tfjs` puts TensorFlow and tfjs, and where a program's own copy lies. */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

export const PACKAGE = '@tensorflow/tfjs-node-gpu'
export const PACKAGE_VERSION = '4.22.0'
export const FOLDER = '.tfjs'

/** In the order in which they are loaded: the second needs the first. */
export const LIBRARIES = ['libtensorflow_framework.so.2', 'libtensorflow_cc.so.2'] as const

/** What decides where to look. Whoever calls reads the environment. */
export interface Where {
  /** TUNEC_TFJS: a folder that setup:tfjs filled. It alone is looked at. */
  readonly override: string | undefined
  readonly cwd: string
  /** A folder of this package: .tfjs is looked for beside it and above. */
  readonly here: string
}

export const whereOf = (env: Readonly<Record<string, string | undefined>>, cwd: string): Where => ({
  override: env['TUNEC_TFJS'] === undefined ? undefined : path.resolve(cwd, env['TUNEC_TFJS']),
  cwd,
  here: import.meta.dirname,
})

/** One installation of the package with what it links to. */
export interface Home {
  /** The package's own folder. */
  readonly folder: string
  readonly libraries: ReadonlyArray<string>
  readonly binding: string
  /** The plugin that setup:tfjs built beside it; null: there is none. */
  readonly plugin: string | null
}

/** The folder that the package's loader asks for on node 12 and later. */
export const bindingIn = (folder: string): string =>
  path.join(folder, 'lib', 'napi-v8', 'tfjs_binding.node')
export const packageIn = (root: string): string => path.join(root, 'node_modules', PACKAGE)
export const pluginIn = (root: string): string => path.join(root, 'plugin', 'libtunec_tfjs.so')

const up = (folder: string): ReadonlyArray<string> =>
  path.dirname(folder) === folder ? [folder] : [folder, ...up(path.dirname(folder))]

export const homeAt = (folder: string, plugin: string | null): Home => ({
  folder,
  libraries: LIBRARIES.map((l) => path.join(folder, 'deps', 'lib', l)).filter((l) =>
    fs.existsSync(l),
  ),
  binding: bindingIn(folder),
  plugin: plugin !== null && fs.existsSync(plugin) ? plugin : null,
})

const installed = (from: string): string | null => {
  try {
    return path.dirname(
      createRequire(path.join(from, 'package.json')).resolve(`${PACKAGE}/package.json`),
    )
  } catch {
    return null
  }
}

/** Every place where the package could be, the one to take first. */
const candidates = (w: Where): ReadonlyArray<Home> => {
  const roots =
    w.override === undefined
      ? [...new Set([w.cwd, ...up(w.here)])].map((d) => path.join(d, FOLDER))
      : [w.override]
  const own = w.override === undefined ? installed(w.cwd) : null
  const plugin = roots.map(pluginIn).find((p) => fs.existsSync(p)) ?? null
  return [
    ...roots.map((r) => homeAt(packageIn(r), pluginIn(r))),
    // A tfjs program may have the package among its own, with whatever TensorFlow its installer found.
    ...(own === null ? [] : [homeAt(own, plugin)]),
  ]
}

export const MEND =
  '`npm run setup:tfjs` in a checkout of tunec makes it work (Linux, a C++ compiler, pip; about 350 MB of downloads)'

export type Found = { readonly home: Home } | { readonly why: string }

export const find = (w: Where): Found => {
  const all = candidates(w).filter((h) => fs.existsSync(path.join(h.folder, 'package.json')))
  const home = all.find((h) => fs.existsSync(h.binding))
  if (home !== undefined) return { home }
  return {
    why:
      all.length === 0
        ? w.override === undefined
          ? `${PACKAGE} is not set up; ${MEND}`
          : `TUNEC_TFJS names ${w.override}, where ${PACKAGE} is not; ${MEND}`
        : `${all[0]!.folder} has no native binding (${path.relative(all[0]!.folder, all[0]!.binding)}); ${MEND}`,
  }
}
