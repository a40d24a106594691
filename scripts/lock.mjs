/**
 * Run after any change of package-lock.json: `npm run lock`. Takes two things out of it.
 * - `hasInstallScript`: npm runs the install scripts of packages that the lock says have one. None is needed here
 *   (every package brings its binaries), and onnxruntime-node's would download a CUDA build of 400 MB.
 * - `libc`: npm 11 writes it and npm 10 removes it, so `npm install` would change the file back and forth.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const away = ['hasInstallScript', 'libc']
const without = (entry) =>
  Object.fromEntries(Object.entries(entry).filter(([key]) => !away.includes(key)))

const { '': root, ...dependencies } = lock.packages
const packages = Object.fromEntries(
  Object.entries(dependencies).map(([path, entry]) => [path, without(entry)]),
)
writeFileSync(
  'package-lock.json',
  `${JSON.stringify({ ...lock, packages: { '': root, ...packages } }, null, 2)}\n`,
)
