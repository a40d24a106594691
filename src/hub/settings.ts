/** What the environment says of the hub, by Hugging Face's names: where its cache lies, who asks, and whom. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export type Environment = Readonly<Record<string, string | undefined>>

export interface HubSettings {
  readonly endpoint: string
  /** The folder of `models--org--name`. */
  readonly cache: string
  /** Nothing is asked, the cache has it or not. */
  readonly offline: boolean
  /** Read when it is needed, kept nowhere. */
  readonly token: () => string | null
}

const PUBLIC = 'https://huggingface.co'

const said = (env: Environment, ...names: ReadonlyArray<string>): string | undefined =>
  names.map((n) => env[n]?.trim()).find((v) => v !== undefined && v !== '')

const expanded = (file: string): string =>
  file === '~' || file.startsWith('~/') ? path.join(os.homedir(), file.slice(1)) : file

const homeOf = (env: Environment): string => {
  const own = said(env, 'HF_HOME')
  if (own !== undefined) return expanded(own)
  const cache = said(env, 'XDG_CACHE_HOME')
  return path.join(
    cache === undefined ? path.join(os.homedir(), '.cache') : expanded(cache),
    'huggingface',
  )
}

const isTrue = (value: string | undefined): boolean =>
  value !== undefined && ['1', 'on', 'yes', 'true'].includes(value.toLowerCase())

const inFile = (file: string): string | null => {
  try {
    const text = fs.readFileSync(file, 'utf8').trim()
    return text === '' ? null : text
  } catch {
    return null
  }
}

export const hubSettings = (env: Environment = process.env): HubSettings => {
  const home = homeOf(env)
  const cache = said(env, 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE')
  return {
    endpoint: (said(env, 'HF_ENDPOINT') ?? PUBLIC).replace(/\/+$/, ''),
    cache: cache === undefined ? path.join(home, 'hub') : expanded(cache),
    offline: isTrue(said(env, 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE')),
    token: () =>
      said(env, 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ??
      inFile(expanded(said(env, 'HF_TOKEN_PATH') ?? path.join(home, 'token'))),
  }
}
