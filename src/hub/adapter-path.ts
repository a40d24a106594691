/** Where an adapter lies that a config names: beside the config, or in the cache of a hub. */
import fs from 'node:fs'
import path from 'node:path'
import { modelRepo, type Repo } from './address.ts'
import { cachedSnapshot } from './cache.ts'

/** The repository that is meant; null: it is a folder here, or no name on a hub. */
export const adapterRepo = (name: string, beside: string): Repo | null =>
  fs.existsSync(path.resolve(beside, name)) ? null : modelRepo(name)

export const adapterPath = (name: string, beside: string): string => {
  const repo = adapterRepo(name, beside)
  const fetched = repo === null ? null : cachedSnapshot(repo)
  return fetched ?? path.resolve(beside, name)
}
