/** A run's weights as a repository of a hub, with a card, its config, and checksums of what was sent. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { configName } from '../adapter/config.ts'
import { currentFolder } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { sumOf, sumsName, verifySums, type Sums } from '../tensors/sums.ts'
import { headsFolder } from '../train/heads.ts'
import { weightsFolder } from '../train/results.ts'
import { pageOf, type Repo } from './address.ts'
import { modelCard } from './card.ts'
import { factsOf, type RunFacts } from './facts.ts'
import { callerOf } from './fetch.ts'
import { hubLibrary } from './library.ts'
import { writeProblemOf } from './problems.ts'
import { published, type Published, type Reference } from './reference.ts'
import type { HubSettings } from './settings.ts'

export interface UploadOptions {
  readonly settings: HubSettings
  readonly private: boolean
  /** The hub id of a base that is a folder here. */
  readonly base: string | null
  readonly title: string
  readonly description: string | null
}

/** A text that was made for the repository, or a file as it lies here. */
export type Part =
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly file: string }

/** PEFT's config with the base by a name that means something elsewhere. */
const adapterConfig = (text: string, base: Reference): string => {
  const config = JSON.parse(text) as Readonly<Record<string, unknown>>
  const said = { ...config, base_model_name_or_path: base.name, revision: base.revision }
  return `${JSON.stringify(said, null, 2)}\n`
}

const sumsText = (sums: Sums): string =>
  [...sums]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, sum]) => `${sum}  ${name}\n`)
    .join('')

const textIn = (folder: string, name: string): TE.TaskEither<Issues, string> =>
  pipe(
    attempt('read the file', folder, () => fs.readFile(path.join(folder, name), 'utf8')),
    TE.mapLeft(one),
  )

const remade: ReadonlySet<string> = new Set(['README.md', configName, sumsName])

/** A folder's files, as they were written. */
interface Kept {
  readonly folder: string
  readonly sums: Sums
}

const kept = (folder: string, results: string): TE.TaskEither<Issues, Kept> =>
  pipe(
    currentFolder(path.resolve(folder)),
    TE.mapLeft(() =>
      one(issue('the run has not finished, so there are no weights', { file: results })),
    ),
    TE.bindTo('folder'),
    TE.bind('sums', ({ folder: at }) => pipe(verifySums(at), TE.mapLeft(one))),
  )

/** An encoder that was not trained has no weights of its own. */
const hasWeights = ({ config }: RunFacts): boolean =>
  config.model_type === 'llm' || config.input_features[0].encoder?.trainable !== false

const none = <A>(): TE.TaskEither<Issues, A | null> => TE.right(null)

export interface Sent {
  readonly parts: ReadonlyArray<Part>
  readonly base: Published
}

/** What is sent. Left: a run that has not finished, or whose files are not what was written. */
export const partsOf = (
  results: string,
  id: string,
  asked: string | null,
): TE.TaskEither<Issues, Sent> =>
  pipe(
    TE.Do,
    TE.bind('facts', () => TE.fromEither(factsOf(results))),
    TE.bind('weights', ({ facts }) =>
      hasWeights(facts) ? kept(weightsFolder(results), results) : none<Kept>(),
    ),
    TE.bind('heads', ({ facts }) =>
      facts.heads.length === 0 ? none<Kept>() : kept(headsFolder(results), results),
    ),
    TE.bind('text', ({ weights }) =>
      weights === null ? none<string>() : textIn(weights.folder, 'README.md'),
    ),
    TE.bind('adapter', ({ weights, facts }) =>
      weights === null || facts.config.adapter === null
        ? none<string>()
        : textIn(weights.folder, configName),
    ),
    TE.map(({ facts, weights, heads, text, adapter }) => {
      const base = published(facts.config.base_model, facts.baseFolder, asked)
      const texts = [
        { path: 'README.md', text: modelCard({ id, base, facts, text }) },
        { path: 'tunec.yaml', text: facts.configText },
        ...(adapter === null ? [] : [{ path: configName, text: adapterConfig(adapter, base) }]),
      ]
      const files = [...filesOf(weights, ''), ...filesOf(heads, 'heads/')]
      const all = new Map([
        ...files.map((f) => [f.path, f.sum] as const),
        ...texts.map((x) => [x.path, sumOf(x.text)] as const),
      ])
      const parts = [
        ...files.map(({ path: at, file }) => ({ path: at, file })),
        ...texts,
        { path: sumsName, text: sumsText(all) },
      ]
      return { parts, base }
    }),
  )

/** Files that are sent as they are, and under which names. */
const filesOf = (from: Kept | null, prefix: string) =>
  from === null
    ? []
    : [...from.sums]
        .filter(([name]) => !remade.has(name))
        .map(([name, sum]) => ({ path: prefix + name, file: path.join(from.folder, name), sum }))

const needed = ({ settings }: UploadOptions): Issue | null => {
  if (settings.offline)
    return issue('HF_HUB_OFFLINE says to ask nobody', { hint: 'leave it out to upload' })
  return settings.token() === null
    ? issue('there is no token to upload with', {
        expected: 'a token that may write, in HF_TOKEN or where `hf auth login` puts it',
        hint: `make one on ${settings.endpoint}/settings/tokens`,
      })
    : null
}

/** Makes the repository where there is none, and commits everything at once; the commit's address. */
export const upload = (
  results: string,
  id: string,
  o: UploadOptions,
): TE.TaskEither<Issues, Sent & { readonly url: string }> => {
  const repo: Repo = { kind: 'model', id, revision: 'main' }
  const why = needed(o)
  if (why !== null) return TE.left(one(why))
  const failed = writeProblemOf({ repo, settings: o.settings, gated: false })
  const call = <A>(run: () => Promise<A>): TE.TaskEither<Issues, A> =>
    TE.tryCatch(run, (e) => one(failed(e)))
  const name = { type: 'model' as const, name: id }
  return pipe(
    partsOf(results, id, o.base),
    TE.bindTo('sent'),
    TE.bind('hub', () => call(hubLibrary)),
    TE.let('caller', () => callerOf(o.settings)),
    TE.chainFirst(({ hub, caller }) =>
      call(async () => {
        if (!(await hub.repoExists({ ...caller, repo: name })))
          await hub.createRepo({ ...caller, repo: name, private: o.private })
      }),
    ),
    TE.bind('done', ({ hub, caller, sent: { parts } }) =>
      call(() =>
        hub.uploadFiles({
          ...caller,
          repo: name,
          files: parts.map((part) => ({
            path: part.path,
            content: 'text' in part ? new Blob([part.text]) : pathToFileURL(part.file),
          })),
          commitTitle: o.title,
          ...(o.description === null ? {} : { commitDescription: o.description }),
        }),
      ),
    ),
    TE.map(({ done, sent }) => ({
      ...sent,
      url: done?.commit.url ?? pageOf(o.settings.endpoint, repo),
    })),
  )
}
