/** The backends there are, each loaded when it is first needed. */
import type { Backend } from '../backends/backend.ts'
import { tooLongFor } from './command-line.ts'

export type BackendName = 'reference' | 'onnx' | 'cuda' | 'tfjs'

export const backends: Readonly<Record<BackendName, () => Promise<Backend>>> = {
  cuda: async () => (await import('../backends/cuda/index.ts')).cuda,
  onnx: async () => (await import('../backends/onnx/index.ts')).onnx,
  tfjs: async () => (await import('../backends/tfjs/index.ts')).tfjs,
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

/**
 * `auto` is cuda where a GPU works, else onnx. The reference backend runs only when it is named: it is thousands of times slower, and a run that
 * fell back to it would look like one that hangs. Left out: a backend that does not work says why.
 */
export const choose = async (
  name: BackendName | 'auto',
): Promise<Backend | { readonly why: string }> => {
  if (name === 'auto') {
    const gpu = await choose('cuda')
    return 'why' in gpu ? choose('onnx') : gpu
  }
  const long = name === 'onnx' ? tooLongFor() : null
  if (long !== null) return { why: long }
  const backend = await load(name)
  const why = 'why' in backend ? backend.why : await backend.diagnose()
  return why === null ? (backend as Backend) : { why }
}
