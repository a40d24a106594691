/** The part of @huggingface/hub that is used, loaded when something is asked of a hub and not before. */

/** As the library names a repository. */
export interface RepoId {
  readonly type: 'model' | 'dataset'
  readonly name: string
}

/** What every call takes. */
export interface Caller {
  readonly hubUrl: string
  readonly accessToken?: string
  readonly fetch?: typeof fetch
}

export interface Entry {
  readonly type: 'file' | 'directory' | 'unknown'
  readonly size: number
  readonly path: string
  /** The SHA-1 that git names a content by. */
  readonly oid?: string
  /** Of a large file: its SHA-256. */
  readonly lfs?: { readonly oid: string; readonly size: number }
}

export interface Info {
  readonly sha?: string
  readonly gated?: false | 'auto' | 'manual'
}

interface InfoOf {
  (
    params: Caller & {
      readonly name: string
      readonly revision: string
      readonly additionalFields: ReadonlyArray<'sha'>
    },
  ): Promise<Info>
}

export interface HubLibrary {
  readonly modelInfo: InfoOf
  readonly datasetInfo: InfoOf
  readonly listFiles: (
    params: Caller & {
      readonly repo: RepoId
      readonly revision: string
      readonly recursive: boolean
    },
  ) => AsyncIterable<Entry>
  readonly repoExists: (params: Caller & { readonly repo: RepoId }) => Promise<boolean>
  readonly createRepo: (
    params: Caller & { readonly repo: RepoId; readonly private?: boolean },
  ) => Promise<unknown>
  readonly uploadFiles: (
    params: Caller & {
      readonly repo: RepoId
      /** A URL is a file on the disk, read as it is sent. */
      readonly files: ReadonlyArray<{ readonly path: string; readonly content: Blob | URL }>
      readonly commitTitle: string
      readonly commitDescription?: string
    },
  ) => Promise<{ readonly commit: { readonly oid: string; readonly url: string } } | undefined>
}

const name: string = '@huggingface/hub'

export const hubLibrary = async (): Promise<HubLibrary> => (await import(name)) as HubLibrary
