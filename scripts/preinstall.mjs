/**
 * Runs where tunec is installed as a dependency. onnxruntime-node's own install script, which npm starts after this
 * one, downloads a 400 MB CUDA build unless the files it would bring are there. tunec uses the CPU engine inside the
 * package, so their places are taken. Nothing is touched where somebody else asks for onnxruntime-node too, or where
 * ONNXRUNTIME_NODE_INSTALL says what to fetch.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'

const engine = 'onnxruntime-node'
const placeholder = `Not the library of this name: tunec needs only onnxruntime's CPU engine and kept the CUDA build from being downloaded.
To have it: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild ${engine}
`

const ancestors = (folder) =>
  dirname(folder) === folder ? [folder] : [folder, ...ancestors(dirname(folder))]

/** Every package below a node_modules folder, nested ones too. */
const packagesIn = (modules) =>
  !existsSync(modules)
    ? []
    : readdirSync(modules)
        .flatMap((name) =>
          name.startsWith('@')
            ? readdirSync(join(modules, name)).map((n) => join(name, n))
            : [name],
        )
        .map((name) => join(modules, name))
        .flatMap((folder) => [folder, ...packagesIn(join(folder, 'node_modules'))])

const asksForEngine = (kinds) => (folder) => {
  const file = join(folder, 'package.json')
  if (!existsSync(file)) return false
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  return manifest.name !== 'tunec' && kinds.some((kind) => engine in (manifest[kind] ?? {}))
}

const installed = ['dependencies', 'optionalDependencies', 'peerDependencies']
const othersAsk = (modules) =>
  asksForEngine([...installed, 'devDependencies'])(dirname(modules)) ||
  packagesIn(modules).some(asksForEngine(installed))

/** The files that the engine's install script looks for on this platform. */
const downloads = (folder) => {
  const { requirements, manifests } = createRequire(import.meta.url)(
    join(folder, 'script', 'install-metadata.js'),
  )
  const platform = `${process.platform}/${process.arch}`
  return (requirements[platform] ?? [])
    .flatMap((name) => Object.keys(manifests[`${platform}:${name}`] ?? {}))
    .map((file) => join(folder, 'bin', 'napi-v6', platform, file))
}

const takePlaces = () => {
  const own = resolve(import.meta.dirname, '..')
  const modules = ancestors(own)
    .map((folder) => join(folder, 'node_modules'))
    .find((folder) => existsSync(join(folder, engine)))
  const asked = process.env.ONNXRUNTIME_NODE_INSTALL ?? process.env.ONNXRUNTIME_NODE_INSTALL_CUDA
  if (modules === undefined || asked !== undefined) return
  if (othersAsk(modules)) return
  for (const file of downloads(join(modules, engine)))
    if (!existsSync(file)) {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, placeholder)
    }
}

// In tunec's own checkout npm runs this after everything else, and the lock file keeps install scripts out.
if (process.env.npm_config_local_prefix !== dirname(process.env.npm_package_json ?? '')) {
  try {
    takePlaces()
  } catch (error) {
    // An engine laid out differently is installed as it wants to be: that is no reason to fail the install.
    console.error(
      `tunec: could not keep ${engine} from downloading its CUDA build: ${error.message}`,
    )
  }
}
