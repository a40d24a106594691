/** The paths of OpenAI's API that are answered, and its words for those that are not. */
import * as E from 'fp-ts/lib/Either.js'
import type { Served } from '../model.ts'
import { chat } from './chat.ts'
import { completions } from './completions.ts'
import { invalid, noModel, type ApiError } from './errors.ts'
import type { Fields } from './fields.ts'
import { body, type Reply } from './reply.ts'

export type Post = (
  m: Served,
  fields: Fields,
  signal: AbortSignal,
) => Promise<E.Either<ApiError, Reply>>

export const posts: Readonly<Record<string, Post>> = {
  '/v1/chat/completions': chat,
  '/v1/completions': completions,
}

const modelOf = (m: Served) => ({
  id: m.name,
  object: 'model',
  created: m.created,
  owned_by: 'tunec',
})

/** A part of a path; one that is no escaped text stands for itself. */
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const MODELS = '/v1/models'

/** What GET of a path gives; null: there is no such path. */
export const get = (m: Served, path: string): E.Either<ApiError, Reply> | null => {
  if (path === MODELS) return E.right(body({ object: 'list', data: [modelOf(m)] }))
  if (!path.startsWith(`${MODELS}/`)) return null
  const name = decoded(path.slice(MODELS.length + 1))
  return name === m.name ? E.right(body(modelOf(m))) : E.left(noModel(name))
}

export const unknownUrl = (method: string, path: string): ApiError =>
  invalid(`Invalid URL (${method} ${path})`, null, null, 404)

export const wrongMethod = (method: string): ApiError =>
  invalid(`Only ${method} requests are accepted.`, null, 'method_not_supported', 405)

export const notJson: ApiError = invalid(
  'We could not parse the JSON body of your request: an object is expected.',
)

export const tooLarge = (most: number): ApiError =>
  invalid(`Maximum content size limit (${most}) exceeded`, null, 'request_too_large', 413)

export const noKey: ApiError = invalid(
  "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
  null,
  null,
  401,
)

export const wrongKey: ApiError = invalid(
  'Incorrect API key provided.',
  null,
  'invalid_api_key',
  401,
)
