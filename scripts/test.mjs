// Runs the test files, as many at once as there are cores: node alone leaves one core out, which on two is half the machine.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import os from 'node:os'

const files = readdirSync('test')
  .filter((f) => f.endsWith('.test.ts'))
  .map((f) => `test/${f}`)
const at = `--test-concurrency=${os.availableParallelism()}`
const { status } = spawnSync(process.execPath, ['--import', 'tsx', '--test', at, ...files], {
  stdio: 'inherit',
})
process.exit(status ?? 1)
