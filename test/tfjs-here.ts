/** Whether TensorFlow is set up here; tests that need it say why they are left out. */
import { tfjs } from '../backends/tfjs/index.ts'

const why = await tfjs.diagnose()
export const noTfjs: string | false = why === null ? false : `no TensorFlow here: ${why}`
