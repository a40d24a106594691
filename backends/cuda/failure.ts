/** What the driver answered, as every backend says it. */
import { backendError, type BackendError } from '../backend.ts'
import type { CudaError } from './driver/error.ts'

export const asBackendError = (e: CudaError): BackendError => ({
  ...backendError('cuda', `${e.call}: ${e.name}: ${e.message}`, e.hint),
  ...(e.name === 'CUDA_ERROR_OUT_OF_MEMORY' ? { lacks: 'memory' as const } : {}),
})
