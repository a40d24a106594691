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

/** A base's name without its revision. */
export const plainName = (name: string): string =>
  /@|^hf:/.test(name) ? (modelRepo(name)?.id ?? name) : name
