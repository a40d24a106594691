/** Whether a GPU works here; tests that need one say why they are left out. */
import { cuda } from '../backends/cuda/index.ts'

const why = await cuda.diagnose()
export const noGpu: string | false = why === null ? false : `no GPU here: ${why}`
