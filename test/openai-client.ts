/** The public client of OpenAI's API, and the part of it that the tests use: where it is not installed, only they fail. */
interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}

interface Common {
  readonly id: string
  readonly object: string
  readonly created: number
  readonly model: string
  readonly usage?: Usage | null
}

export interface Chat extends Common {
  readonly choices: ReadonlyArray<{
    readonly index: number
    readonly message: { readonly role: string; readonly content: string | null }
    readonly finish_reason: string
  }>
}

export interface ChatChunk extends Common {
  readonly choices: ReadonlyArray<{
    readonly index: number
    readonly delta: { readonly role?: string; readonly content?: string | null }
    readonly finish_reason: string | null
  }>
}

export interface Completion extends Common {
  readonly choices: ReadonlyArray<{
    readonly index: number
    readonly text: string
    readonly finish_reason: string | null
  }>
}

type Fields = Readonly<Record<string, unknown>>

/** As the client types it: a stream where one is asked for. */
interface Create<Whole, Chunk> {
  (fields: Fields & { readonly stream: true }): Promise<AsyncIterable<Chunk>>
  (fields: Fields): Promise<Whole>
}

export interface Client {
  readonly chat: { readonly completions: { readonly create: Create<Chat, ChatChunk> } }
  readonly completions: { readonly create: Create<Completion, Completion> }
  readonly models: {
    readonly list: () => Promise<{ readonly data: ReadonlyArray<{ readonly id: string }> }>
    readonly retrieve: (name: string) => Promise<{ readonly id: string }>
  }
}

interface Settings {
  readonly apiKey: string
  readonly baseURL: string
  readonly maxRetries?: number
}

const library: string = 'openai'

export const clientOf = async (settings: Settings): Promise<Client> => {
  const { default: OpenAI } = (await import(library)) as { default: new (s: Settings) => Client }
  return new OpenAI(settings)
}

/** What the client throws. */
export interface Refused {
  readonly status: number
  readonly code: string | null
  readonly param: string | null
  readonly type: string
  readonly message: string
}
