/** The paths of OpenAI's API that are answered, and its words for those that are not. */
import * as E from 'fp-ts/lib/Either.js'
import type { Served } from '../model.ts'
import { chat } from './chat.ts'
import { completions } from './completions.ts'
import { invalid, noModel, type ApiError } from './errors.ts'
import type { Fields } from './fields.ts'
import { body, type Reply } from './reply.ts'
import type { Post, Service } from '../service.ts'

type Handler = (m: Served, fields: Fields, signal: AbortSignal) => ReturnType<Post>

const handlers: Readonly<Record<string, Handler>> = {
  '/v1/chat/completions': chat,
  '/v1/completions': completions,
}

/** What a model that writes answers. */
export const textPosts = (m: Served): Readonly<Record<string, Post>> =>
  Object.fromEntries(
    Object.entries(handlers).map(([path, handle]) => [
      path,
      (fields, signal) => handle(m, fields, signal),
    ]),
  )

/** A model that predicts labels has no text to give. */
export const labelPosts: Readonly<Record<string, Post>> = Object.fromEntries(
  Object.keys(handlers).map((path) => [
    path,
    async () =>
      E.left(
        invalid(
          'This model predicts labels and writes no text: post the columns of a row to /predict.',
          'model',
          'unsupported_value',
        ),
      ),
  ]),
)

const modelOf = (m: Named) => ({
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

/** What is told of a model. */
type Named = Pick<Service, 'name' | 'created'>

const MODELS = '/v1/models'

/** What GET of a path gives; null: there is no such path. */
export const get = (m: Named, path: string): E.Either<ApiError, Reply> | null => {
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
