/** Refusals in the form of OpenAI's API, with its words and codes, so that its clients show and retry them as they do there. */
export interface ApiError {
  readonly status: number
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
  /** Seconds after which to ask again. */
  readonly retryAfter?: number
}

/** The request is at fault. */
export const invalid = (
  message: string,
  param: string | null = null,
  code: string | null = null,
  status = 400,
): ApiError => ({ status, message, type: 'invalid_request_error', param, code })

export const serverError = (message: string, status = 500): ApiError => ({
  status,
  message,
  type: 'server_error',
  param: null,
  code: null,
})

export const overloaded: ApiError = {
  ...serverError('The engine is currently overloaded, please try again later', 503),
  retryAfter: 1,
}

export const beyondQueue: ApiError = invalid(
  'The request asks for more answers at once than this server lets wait; ask for fewer.',
  'n',
  'unsupported_value',
)

export const stopping: ApiError = serverError('The server is shutting down', 503)

export const timedOut: ApiError = serverError('The request timed out before it was answered', 504)

export const noModel = (name: string): ApiError =>
  invalid(
    `The model \`${name}\` does not exist or you do not have access to it.`,
    null,
    'model_not_found',
    404,
  )

/** As it stands in a body. */
export const bodyOf = ({ message, type, param, code }: ApiError) => ({
  error: { message, type, param, code },
})
