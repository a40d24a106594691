// npx tsx examples/result-type/four.ts
/** One job trained four ways: all weights, an adapter, an adapter over 4 bits, a head over a frozen encoder that reads each row once. */
import os from 'node:os'
import path from 'node:path'
import fs from 'node:fs/promises'
import * as E from 'fp-ts/lib/Either.js'
import { dsl } from '../../src/index.ts'

const ways = ['full', 'lora', 'qlora', 'frozen']

const percent = (x: number | undefined): string =>
  x === undefined ? '' : `${(100 * x).toFixed(1)} %`

console.log(
  ['', 'trained', 'accuracy', 'macro', 'training', 'all of it'].map((x) => x.padStart(12)).join(''),
)
for (const way of ways) {
  const begun = performance.now()
  const plan = dsl.compile(path.join(import.meta.dirname, `${way}.yaml`))
  if (E.isLeft(plan)) throw new Error(plan.left[0].message)
  const results = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-'))
  const done = await dsl.train(plan.right, { resultsFolder: results })()
  if (E.isLeft(done)) throw new Error(done.left[0].message)
  const { metrics, seconds, encoded } = done.right
  const trained = plan.right.program.state
    .filter((s) => s.role === 'train')
    .reduce((n, s) => n + s.type.shape.reduce((a, b) => a * b, 1), 0)
  const line = [
    way,
    trained.toLocaleString('en-US'),
    percent(metrics.test?.['type.accuracy_micro']),
    percent(metrics.test?.['type.accuracy']),
    `${(seconds + (encoded?.seconds ?? 0)).toFixed(1)} s`,
    `${((performance.now() - begun) / 1000).toFixed(1)} s`,
  ]
  console.log(line.map((x) => x.padStart(12)).join(''))
  await fs.rm(results, { recursive: true })
}
