import { reference } from '../backends/reference/index.ts'
import { goldenSuite } from './golden.ts'

goldenSuite(reference)
