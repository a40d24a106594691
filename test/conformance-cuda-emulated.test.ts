/** Lowering, placement and every generic kernel of the cuda backend, without a GPU. */
import { test } from 'node:test'
import { conformanceSuite } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'

if (noCompiler === false) conformanceSuite(emulated({ arch: 75, sms: 40, shared: 65536 }))
else test('conformance of emulated CUDA', { skip: noCompiler }, () => {})
