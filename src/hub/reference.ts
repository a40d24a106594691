/** How others find a base model: by its id and commit where it came from a hub, else by where it lies here. */
import path from 'node:path'
import { modelRepo } from './address.ts'
import { isCommit } from './cache.ts'

export interface Reference {
  /** `org/name`, or an absolute path. */
  readonly name: string
  /** Null: a folder has none. */
  readonly revision: string | null
}

/** `name` as the config says it, `folder` where it was read. */
export const referenceTo = (name: string, folder: string): Reference => {
  const [repo, at] = [modelRepo(name), path.resolve(folder)]
  const commit = path.basename(at)
  const cached =
    repo !== null &&
    isCommit(commit) &&
    at.endsWith(path.join(`models--${repo.id.replace('/', '--')}`, 'snapshots', commit))
  return cached ? { name: repo.id, revision: commit } : { name: at, revision: null }
}

/** A base as a card names it; `onHub`: whoever reads it can find it. */
export interface Published extends Reference {
  readonly onHub: boolean
}

/** `asked`: the id that whoever uploads gives to a folder. */
export const published = (name: string, folder: string | null, asked: string | null): Published => {
  if (asked !== null) return { name: asked, revision: null, onHub: true }
  const found = folder === null ? null : referenceTo(name, folder)
  return found === null || found.revision === null
    ? { name: path.basename(name), revision: null, onHub: false }
    : { ...found, onHub: true }
}

/** A base's name without its revision. */
export const plainName = (name: string): string =>
  /@|^hf:/.test(name) ? (modelRepo(name)?.id ?? name) : name
