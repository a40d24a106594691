/** Makes written files and folder entries survive a loss of power. */
import fs from 'node:fs/promises'
import { join } from 'node:path'

/** How systems say that a folder cannot be synced; they then do it themselves or never. */
const unsupported: ReadonlySet<unknown> = new Set(['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM'])

/** Syncs the file at `path`. */
const syncFile = async (path: string): Promise<void> => {
  const file = await fs.open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Syncs the list of names in a folder, where the system can. */
export const syncFolder = (folder: string): Promise<void> =>
  syncFile(folder).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && unsupported.has(error.code))) throw error
  })

/** Syncs every file and folder under `folder`, and itself last. */
export const syncTree = async (folder: string): Promise<void> => {
  for (const entry of await fs.readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await syncTree(path)
    else if (entry.isFile()) await syncFile(path)
  }
  await syncFolder(folder)
}
