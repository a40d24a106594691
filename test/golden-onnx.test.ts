import { onnx } from '../backends/onnx/index.ts'
import { goldenSuite } from './golden.ts'

goldenSuite(onnx)
