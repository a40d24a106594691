/** CUDA sources beside this file, each behind the common prefix. */
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('./kernels/', import.meta.url))
const texts = new Map<string, string>()

const textOf = (name: string): string => {
  const known = texts.get(name) ?? fs.readFileSync(folder + name, 'utf8')
  texts.set(name, known)
  return known
}

/** What NVRTC compiles for a kernel of this source. */
export const sourceOf = (name: string): string => `${textOf('common.cuh')}\n${textOf(name)}`
