/** Names of things on the Hugging Face hub: `org/model`, `org/model@revision`, `hf://datasets/org/data@revision/file.csv`. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'

export type Kind = 'model' | 'dataset'

export interface Repo {
  readonly kind: Kind
  /** `org/name`. */
  readonly id: string
  /** A branch, a tag or a commit. */
  readonly revision: string
}

/** A file of a dataset; null: none is named, so that those there are can be told. */
export interface DatasetFile extends Repo {
  readonly path: string | null
}

const MAIN = 'main'
const SCHEME = 'hf://'
const PART = String.raw`[\w.-]+`
const MODEL = new RegExp(`^(?:hf://(?:models/)?)?(${PART}/${PART})(?:@([\\w./-]+))?$`)
const DATASET = new RegExp(`^hf://(?:datasets/)?(${PART}/${PART})(?:@([^/]+))?(?:/(.+))?$`)

/** Parts that lead out of a folder are no names. */
const climbs = (text: string): boolean => text.split('/').some((p) => p === '..' || p === '.')

/** The repository that a base model's name may mean; null: it is a path. */
export const modelRepo = (name: string): Repo | null => {
  const [, id, revision] = MODEL.exec(name) ?? []
  return id === undefined || climbs(id) || climbs(revision ?? '')
    ? null
    : { kind: 'model', id, revision: revision ?? MAIN }
}

/** Whether a dataset's name is an address and no path. */
export const isAddress = (name: string): boolean => /^[a-z]+:\/\//.test(name)

/** The file that a dataset's address means; a slash in a revision is written `%2F`. Left: an address of another kind. */
export const datasetFile = (name: string): E.Either<Issue, DatasetFile> => {
  const [, id, revision, path] = DATASET.exec(name) ?? []
  const named = (revision ?? MAIN).replace(/%2f/gi, '/')
  if (id !== undefined && ![id, named, path ?? ''].some(climbs) && !id.includes('--'))
    return E.right({ kind: 'dataset', id, revision: named, path: path ?? null })
  return E.left(
    issue(`"${name}" is no address of a dataset that can be fetched`, {
      path: 'compiler.dataset',
      expected:
        'a path, or hf://datasets/OWNER/NAME/FILE.csv, with @REVISION behind the name if wanted',
      hint: name.startsWith(SCHEME)
        ? "Ludwig's hf://OWNER/NAME--SUBSET is written with the file of the subset: hf://datasets/OWNER/NAME/FILE.jsonl"
        : 'fetch it with a program for such addresses, and name the file',
    }),
  )
}

/** As a config writes it. */
export const shownRepo = ({ kind, id, revision }: Repo): string =>
  `${kind === 'dataset' ? `${SCHEME}datasets/` : ''}${id}${revision === MAIN ? '' : `@${revision}`}`

/** The repository's page, for people. */
export const pageOf = (endpoint: string, { kind, id }: Repo): string =>
  `${endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${id}`
