/** The server: requests in, replies out, bounded in body and time, stopped without breaking an answer. */
import { timingSafeEqual } from 'node:crypto'
import http from 'node:http'
import * as E from 'fp-ts/lib/Either.js'
import type { Row } from '../data/cell.ts'
import { bodyOf, serverError, type ApiError } from './openai/errors.ts'
import type { Fields } from './openai/fields.ts'
import type { Reply } from './openai/reply.ts'
import {
  get,
  noKey,
  notJson,
  tooLarge,
  unknownUrl,
  wrongKey,
  wrongMethod,
} from './openai/routes.ts'
import { batchPredict, predict } from './forms.ts'
import type { Refusal, Service } from './service.ts'

export interface Limits {
  /** Bytes of a request's body. */
  readonly body: number
  /** Milliseconds until a request that is not answered is given up; null: as long as it takes. */
  readonly time: number | null
}

export interface Access {
  /** Pages of other origins that may ask; `*`: all. */
  readonly origins: ReadonlyArray<string>
  /** The key that requests must show; null: none. */
  readonly key: string | null
}

type Result =
  | { readonly status: number; readonly body: unknown; readonly headers?: http.OutgoingHttpHeaders }
  | { readonly status: 200; readonly events: Extract<Reply, { _tag: 'events' }>['events'] }

const ofApi = (answer: E.Either<ApiError, Reply>): Result => {
  if (E.isLeft(answer)) {
    const { status, retryAfter } = answer.left
    const body = bodyOf(answer.left)
    return retryAfter === undefined
      ? { status, body }
      : { status, body, headers: { 'retry-after': String(retryAfter) } }
  }
  const reply = answer.right
  return reply._tag === 'body'
    ? { status: 200, body: reply.body }
    : { status: 200, events: reply.events }
}

const ofLudwig = (answer: E.Either<Refusal, object>): Result =>
  E.isLeft(answer)
    ? { status: answer.left.status, body: { error: answer.left.error } }
    : { status: 200, body: answer.right }

/** The whole body; null: it is larger than allowed. */
const bodyIn = async (request: http.IncomingMessage, most: number): Promise<Buffer | null> => {
  if (Number(request.headers['content-length'] ?? 0) > most) return null
  const parts: Array<Buffer> = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > most) return null
    parts.push(part)
  }
  return Buffer.concat(parts)
}

const fieldsIn = (body: Buffer): Fields | null => {
  try {
    const json = JSON.parse(body.toString('utf8')) as unknown
    return typeof json === 'object' && json !== null && !Array.isArray(json)
      ? (json as Fields)
      : null
  } catch {
    return null
  }
}

/** Fields of a form, by the type that the request names; null: it is none. Files are taken as their text. */
const formIn = async (body: Buffer, type: string): Promise<Row | null> => {
  try {
    const form = await new Response(new Uint8Array(body), {
      headers: { 'content-type': type },
    }).formData()
    const row: Record<string, string> = {}
    for (const [name, value] of form.entries())
      row[name] = typeof value === 'string' ? value : await value.text()
    return row
  } catch {
    return null
  }
}

const NO_FORM: Result = {
  status: 400,
  body: {
    error: 'expected a form (multipart/form-data or urlencoded) whose fields are the columns',
  },
}

const same = (a: string, b: string): boolean => {
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}

const refusedKey = (request: http.IncomingMessage, key: string | null): ApiError | null => {
  if (key === null) return null
  const said = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  if (said === undefined) return noKey
  return same(said, key) ? null : wrongKey
}

const ludwig = { '/predict': predict, '/batch_predict': batchPredict } as const

const isLudwig = (path: string): path is keyof typeof ludwig => path in ludwig

const resultOf = async (
  m: Service,
  request: http.IncomingMessage,
  path: string,
  limits: Limits,
  signal: AbortSignal,
): Promise<Result> => {
  const method = request.method ?? 'GET'
  const post = m.posts[path]
  const takesPost = post !== undefined || isLudwig(path)
  if (method === 'GET' || method === 'HEAD') {
    if (path === '/') return { status: 200, body: { message: 'Ludwig server is up' } }
    if (path === '/health') return { status: 200, body: { status: 'ok', ...m.counts() } }
    const found = get(m, path)
    if (found !== null) return ofApi(found)
    return ofApi(E.left(takesPost ? wrongMethod('POST') : unknownUrl(method, path)))
  }
  if (!takesPost)
    return ofApi(E.left(get(m, path) === null ? unknownUrl(method, path) : wrongMethod('GET')))
  if (method !== 'POST') return ofApi(E.left(wrongMethod('POST')))
  const body = await bodyIn(request, limits.body)
  if (body === null) return ofApi(E.left(tooLarge(limits.body)))
  if (post !== undefined) {
    const fields = fieldsIn(body)
    return ofApi(fields === null ? E.left(notJson) : await post(fields, signal))
  }
  const form = await formIn(body, request.headers['content-type'] ?? '')
  return form === null
    ? NO_FORM
    : ofLudwig(await ludwig[path as keyof typeof ludwig](m, form, signal))
}

const crossOrigin = (
  request: http.IncomingMessage,
  origins: ReadonlyArray<string>,
): http.OutgoingHttpHeaders => {
  const { origin } = request.headers
  if (origin === undefined) return {}
  const allowed = origins.includes('*') ? '*' : origins.includes(origin) ? origin : null
  return allowed === null ? {} : { 'access-control-allow-origin': allowed, vary: 'Origin' }
}

const preflight = {
  'access-control-allow-methods': 'GET, POST',
  'access-control-allow-headers': 'authorization, content-type',
}

const sendEvents = async (
  response: http.ServerResponse,
  events: Extract<Reply, { _tag: 'events' }>['events'],
  headers: http.OutgoingHttpHeaders,
): Promise<void> => {
  response.writeHead(200, {
    ...headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  })
  await events((data) => void response.write(`data: ${JSON.stringify(data)}\n\n`))
  response.end('data: [DONE]\n\n')
}

const sendBody = (
  response: http.ServerResponse,
  { status, body, headers }: Extract<Result, { body: unknown }>,
  more: http.OutgoingHttpHeaders,
): void => {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    ...more,
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    // What was not read of a refused body must not be taken for the next request.
    ...(status === 413 ? { connection: 'close' } : {}),
  })
  response.end(text)
}

/** A server that answers for a model; it does not listen yet. `bug` is told of what nobody expected. */
export const serverOf = (
  m: Service,
  limits: Limits,
  access: Access,
  bug: (e: unknown) => void,
): http.Server =>
  http.createServer((request, response) => {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const timer =
      limits.time === null ? undefined : setTimeout(() => gone.abort(), limits.time).unref()
    const answer = async (): Promise<void> => {
      const cors = crossOrigin(request, access.origins)
      if (request.method === 'OPTIONS' && 'access-control-allow-origin' in cors) {
        response.writeHead(204, { ...cors, ...preflight }).end()
        return
      }
      const path = (request.url ?? '/').split('?')[0]!
      const refused = refusedKey(request, access.key)
      const result =
        refused === null
          ? await resultOf(m, request, path, limits, gone.signal)
          : ofApi(E.left(refused))
      if ('events' in result) await sendEvents(response, result.events, cors)
      else sendBody(response, result, cors)
    }
    answer()
      .catch((e: unknown) => {
        // A client that is gone in the middle of its body is no surprise.
        if (request.complete) bug(e)
        if (response.headersSent || !request.complete) response.destroy()
        else
          sendBody(
            response,
            { status: 500, body: bodyOf(serverError('this is a bug in tunec')) },
            {},
          )
      })
      .finally(() => clearTimeout(timer))
  })
