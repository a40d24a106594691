/** Where tunec keeps what it can make again. */
import os from 'node:os'
import path from 'node:path'

export const embeddingsFolder = (env: Readonly<Record<string, string | undefined>>): string => {
  const said = env['XDG_CACHE_HOME']
  const cache = said === undefined || said === '' ? path.join(os.homedir(), '.cache') : said
  return path.join(cache, 'tunec', 'embeddings')
}
