/** Breaks of serving, hubs and Ludwig's command lines. */
import { m, type Mutation } from './mutation.ts'

export const servingMutations: ReadonlyArray<Mutation> = [
  m(
    'a prompt that joins overwrites the caches of those that run',
    'src/serve/slots.ts',
    'fill(g.capacity)',
    'fill(0)',
    'serve-engine',
  ),
  m(
    'a sequence goes on beyond the cache',
    'src/serve/engine.ts',
    'lengthOf(r) >= g.capacity',
    'lengthOf(r) > g.capacity',
    'serve-engine',
  ),
  m(
    'text is given out before it is known to be no stop string',
    'src/serve/text.ts',
    'const keep = last ? 0 : undecided(held, stops)',
    'const keep = 0',
    'serve-text',
  ),
  m(
    'a download is not compared with its checksum',
    'src/hub/download.ts',
    '(await sumOf(file, partial)) !== file.sum',
    'false',
    'hub',
  ),
  m(
    'a host that knows no ranges is believed to have gone on',
    'src/hub/download.ts',
    'status === 206 ? have : 0',
    'have',
    'hub',
  ),
  m(
    'an upload tells the paths of its config',
    'src/hub/facts.ts',
    'configText: renderConfig(shareable(config))',
    'configText: renderConfig(config)',
    'upload',
  ),
  m(
    "Ludwig's word for a split is kept",
    'src/cli/ludwig/translate.ts',
    'values.map((v) => rule.words?.[v] ?? v)',
    'values',
    'ludwig-options',
  ),
]
