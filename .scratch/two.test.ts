import { conformanceSuite } from '../test/conformance.ts'
import { emulated } from '../test/cuda/backend.ts'
conformanceSuite(emulated({ arch: 80, sms: 40, shared: 163840 }))
