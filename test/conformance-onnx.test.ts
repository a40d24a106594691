import { onnx } from '../backends/onnx/index.ts'
import { conformanceSuite } from './conformance.ts'

conformanceSuite(onnx)
