import { reference } from '../backends/reference/index.ts'
import { conformanceSuite } from './conformance.ts'

conformanceSuite(reference)
