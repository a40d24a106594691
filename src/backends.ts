/** The backends there are, each loaded when it is first needed. */
import type { Backend } from '../backends/backend.ts'

export type BackendName = 'reference' | 'onnx'

export const backends: Readonly<Record<BackendName, () => Promise<Backend>>> = {
  onnx: async () => (await import('../backends/onnx/index.ts')).onnx,
  reference: async () => (await import('../backends/reference/index.ts')).reference,
}

export const backendNames = Object.keys(backends) as ReadonlyArray<BackendName>

export interface Health {
  readonly name: BackendName
  readonly doc: string
  /** Null when it works here, else why not and how to mend it. */
  readonly why: string | null
}

/** A backend whose package cannot even be loaded is one that does not work here. */
export const load = async (name: BackendName): Promise<Backend | { readonly why: string }> => {
  try {
    return await backends[name]()
  } catch (e) {
    return {
      why: `it cannot be loaded: ${e instanceof Error ? e.message.split('\n')[0]! : String(e)}`,
    }
  }
}

export const healthOf = async (name: BackendName): Promise<Health> => {
  const backend = await load(name)
  if ('why' in backend) return { name, doc: '', why: backend.why }
  return { name, doc: backend.doc, why: await backend.diagnose() }
}

export interface Chosen {
  readonly backend: Backend
  /** Why it is not the one that `auto` would rather take. */
  readonly notice: string | null
}

/** `auto` is onnx where it works, else reference with a notice. Left out: a named backend that does not work says why. */
export const choose = async (
  name: BackendName | 'auto',
): Promise<Chosen | { readonly why: string }> => {
  const wanted = name === 'auto' ? 'onnx' : name
  const backend = await load(wanted)
  const why = 'why' in backend ? backend.why : await backend.diagnose()
  if (why === null && !('why' in backend)) return { backend, notice: null }
  if (name !== 'auto') return { why: why! }
  return {
    backend: await backends.reference(),
    notice: `running on the reference backend, which is slow: onnx does not work here (${why})`,
  }
}
