/** A hub on this machine that speaks as much of Hugging Face's protocol as is used, with faults on request. */
import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

const sha256 = (b: Uint8Array): string => createHash('sha256').update(b).digest('hex')
const gitSha = (b: Uint8Array): string =>
  createHash('sha1').update(`blob ${b.length}\0`).update(b).digest('hex')
export const commitOf = (text: string): string => createHash('sha1').update(text).digest('hex')

/** Larger ones lie on another host, as on the real hub. */
const SMALL = 2000

export interface Repository {
  files: Record<string, Uint8Array>
  commit: string
  gated?: 'auto' | 'manual'
  /** Only who shows the token is told that it exists. */
  hidden?: boolean
}

export interface Hub {
  readonly url: string
  /** By `models/org/name` and `datasets/org/name`. */
  readonly repos: Map<string, Repository>
  /** What was asked, `METHOD path range`. */
  readonly asked: Array<string>
  /** Asked of the host of large files, and what it was shown. */
  readonly large: Array<{ readonly range: string | undefined; readonly key: string | undefined }>
  readonly faults: {
    /** The next answers of large files break off after so many bytes, once those have arrived. */
    breaks: Array<number>
    /** Bytes of a file that its client has; who asks tells. */
    seen: number
    /** Their next so many bytes are wrong. */
    wrong: number
    /** It sends the whole whatever is asked. */
    rangeless: boolean
    /** Statuses that come instead of the next answers of files. */
    statuses: Array<number>
  }
  /** What was committed, by repository. */
  readonly commits: Array<{ readonly repo: string; readonly lines: ReadonlyArray<{ key: string; value: Record<string, unknown> }> }> // prettier-ignore
  readonly uploaded: Map<string, Uint8Array>
  readonly close: () => Promise<void>
}

export const TOKEN = 'hf_secretsecretsecret'

const listen = async (handler: http.RequestListener): Promise<[http.Server, string]> => {
  const server = http.createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return [server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`]
}

const bodyOf = async (request: http.IncomingMessage): Promise<Buffer> => {
  const parts: Array<Buffer> = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

const json = (response: http.ServerResponse, status: number, body: unknown, headers = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

export const openHub = async (): Promise<Hub> => {
  const repos: Hub['repos'] = new Map()
  const [asked, large]: [Hub['asked'], Hub['large']] = [[], []]
  const faults: Hub['faults'] = { breaks: [], seen: 0, wrong: 0, rangeless: false, statuses: [] }
  const commits: Array<Hub['commits'][number]> = []
  const uploaded: Hub['uploaded'] = new Map()
  const blobs = new Map<string, Uint8Array>()

  const send = (request: http.IncomingMessage, response: http.ServerResponse, whole: Uint8Array, breaks: number | undefined): void => {
    const status = faults.statuses.shift()
    if (status !== undefined) return json(response, status, {})
    const from = faults.rangeless ? 0 : Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const part = Buffer.from(whole.subarray(from))
    if (faults.wrong-- > 0) part[0]! ^= 1
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': part.length })
    if (breaks === undefined) return void response.end(part)
    faults.seen = from
    if (breaks > 0) response.write(part.subarray(0, breaks))
    else response.flushHeaders()
    const end = (): unknown =>
      faults.seen >= from + breaks ? response.socket?.end() : setTimeout(end, 2)
    end()
  } // prettier-ignore

  const [cdn, cdnUrl] = await listen((request, response) => {
    void (async () => {
      const name = request.url!.slice(1)
      if (request.method === 'PUT') {
        uploaded.set(name, await bodyOf(request))
        response.writeHead(200).end()
        return
      }
      large.push({ range: request.headers.range, key: request.headers.authorization })
      send(request, response, blobs.get(name)!, faults.breaks.shift())
    })()
  })

  const shown = (request: http.IncomingMessage): boolean =>
    request.headers.authorization === `Bearer ${TOKEN}`

  const upload = async (request: http.IncomingMessage, response: http.ServerResponse, url: string): Promise<void> => {
    if (!shown(request)) return json(response, 401, { error: 'Invalid username or password.' })
    const text = (await bodyOf(request)).toString()
    if (url === '/api/repos/create') {
      const { name, organization, type } = JSON.parse(text) as Record<string, string>
      repos.set(`${type}s/${organization}/${name}`, { files: {}, commit: commitOf('first') })
      return json(response, 200, { url, id: name })
    }
    if (url.includes('/preupload/')) {
      const { files } = JSON.parse(text) as { files: ReadonlyArray<{ path: string; size: number }> }
      return json(response, 200, {
        files: files.map((f) => ({ path: f.path, uploadMode: f.path.endsWith('.safetensors') ? 'lfs' : 'regular' })),
      })
    }
    if (url.endsWith('/info/lfs/objects/batch')) {
      const { objects } = JSON.parse(text) as { objects: ReadonlyArray<{ oid: string; size: number }> }
      return json(response, 200, {
        transfer: 'basic',
        objects: objects.map((o) => ({ ...o, actions: { upload: { href: `${cdnUrl}/${o.oid}` } } })),
      })
    }
    const repo = /^\/api\/(\w+\/[^/]+\/[^/]+)\/commit\//.exec(url)?.[1]
    if (repo === undefined) return json(response, 404, {})
    const lines = text.split('\n').map((l) => JSON.parse(l) as Hub['commits'][number]['lines'][number])
    commits.push({ repo, lines })
    json(response, 200, { success: true, commitOid: commitOf(text), commitUrl: `${cdnUrl}/commit` })
  } // prettier-ignore

  const [server, url] = await listen((request, response) => {
    const at = decodeURIComponent(request.url!.split('?')[0]!)
    asked.push([request.method, at, request.headers.range].filter((x) => x !== undefined).join(' '))
    if (request.method === 'POST') return void upload(request, response, at)
    const api = /^\/api\/((?:models|datasets)\/[^/]+\/[^/]+)\/(revision|tree)\/([^/]+)/.exec(at)
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(at)
    const known = /^\/api\/((?:models|datasets)\/[^/]+\/[^/]+)$/.exec(at)
    const name = api?.[1] ?? known?.[1] ?? `${file?.[1] ?? 'models/'}${file?.[2]}`
    const repo = repos.get(name)
    if (repo === undefined || (repo.hidden === true && !shown(request)))
      return json(response, shown(request) ? 404 : 401, { error: 'Repository not found' })
    if (known !== null) return json(response, 200, { id: name })
    const { files, commit, gated } = repo
    if (api?.[2] === 'revision')
      return api[3] === 'main' || api[3] === commit
        ? json(response, 200, { _id: '1', id: name, sha: commit, gated: gated ?? false, private: false, lastModified: '2025-01-01', downloads: 0, likes: 0 })
        : json(response, 404, { error: 'Revision not found' })
    if (api?.[2] === 'tree') {
      const entries = Object.entries(files).map(([path, bytes]) => ({
        type: 'file',
        path,
        size: bytes.length,
        oid: gitSha(bytes),
        ...(bytes.length > SMALL ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
      }))
      // Two pages, as a long listing has them.
      const page = new URL(request.url!, url).searchParams.get('cursor')
      const half = Math.ceil(entries.length / 2)
      return page === null
        ? json(response, 200, entries.slice(0, half), { link: `<${url}${request.url}&cursor=1>; rel="next"` })
        : json(response, 200, entries.slice(half))
    }
    const bytes = files[file![4]!]
    if (bytes === undefined || file![3] !== commit) return json(response, 404, {})
    if (gated !== undefined && !shown(request)) return json(response, request.headers.authorization === undefined ? 401 : 403, { error: 'restricted' })
    if (bytes.length <= SMALL) return send(request, response, bytes, undefined)
    blobs.set(sha256(bytes), bytes)
    response.writeHead(302, { location: `${cdnUrl}/${sha256(bytes)}` }).end()
  }) // prettier-ignore

  const close = async (): Promise<void> => {
    for (const s of [server, cdn]) {
      s.closeAllConnections()
      await new Promise((resolve) => s.close(resolve))
    }
  }
  return { url, repos, asked, large, faults, commits, uploaded, close }
}
