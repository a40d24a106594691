/**
 * The cache as Hugging Face lays it out, so that its own programs find what we fetched and the other way round:
 * `models--org--name/blobs/<sum>` holds contents, `snapshots/<commit>/<path>` links to them, `refs/<branch>` names a commit.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Repo } from './address.ts'
import { hubSettings } from './settings.ts'

export const folderOf = (cache: string, { kind, id }: Repo): string =>
  path.join(cache, [`${kind}s`, ...id.split('/')].join('--'))

const COMMIT = /^[0-9a-f]{40}$/

export const isCommit = (revision: string): boolean => COMMIT.test(revision)

export const snapshotOf = (cache: string, repo: Repo, commit: string): string =>
  path.join(folderOf(cache, repo), 'snapshots', commit)

export const blobOf = (cache: string, repo: Repo, sum: string): string =>
  path.join(folderOf(cache, repo), 'blobs', sum)

export const refOf = (cache: string, repo: Repo): string =>
  path.join(folderOf(cache, repo), 'refs', ...repo.revision.split('/'))

const textOf = (file: string): string | null => {
  try {
    return fs.readFileSync(file, 'utf8').trim()
  } catch {
    return null
  }
}

/** The folder that holds a revision's files; null: it was never fetched. */
export const cachedSnapshot = (repo: Repo, cache: string = hubSettings().cache): string | null => {
  const commit = isCommit(repo.revision) ? repo.revision : textOf(refOf(cache, repo))
  if (commit === null || !COMMIT.test(commit)) return null
  const folder = snapshotOf(cache, repo, commit)
  return fs.existsSync(folder) ? folder : null
}
