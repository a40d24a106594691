// npx tsx examples/tfjs-answer.ts
// Trains the bundled job for some steps on the program's own tf, then answers a prompt with the adapter. Needs `npm run setup:tfjs`.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { parse } from 'yaml'
import { dsl } from '../src/index.ts'
import { answererOn, backendOn, load } from '../src/tfjs/index.ts'

interface Tf {
  readonly version: { readonly [name: string]: string }
  readonly memory: () => { numTensors: number; numBytes: number }
}
const tf = load<Tf>()
const results = process.argv[2]
const prompt =
  process.argv[3] ??
  '### Instruction:\nCreate an array of length 5 which contains all even numbers between 1 and 10.\n\n### Response:\n'

/** The results of a run that is over: the folder given, or a short run of the bundled job. */
const trained = async (): Promise<string> => {
  if (results !== undefined) return results
  const folder = path.join(import.meta.dirname, 'code-instructions')
  const config = parse(fs.readFileSync(path.join(folder, 'qlora.yaml'), 'utf8')) as {
    trainer: { epochs: number }
  }
  config.trainer.epochs = 1
  const plan = dsl.compile({ ...config }, { folder })
  if (E.isLeft(plan)) throw new Error(dsl.explain(plan.left))
  const out = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-tfjs-'))
  const done = await dsl.train(plan.right, { backend: backendOn(tf), resultsFolder: out })()
  if (E.isLeft(done)) throw new Error(dsl.explain(done.left))
  return path.join(out, 'experiment_run')
}

const folder = await trained()
const held = tf.memory()
const answers = await answererOn(tf, folder)([prompt], { maxNewTokens: 32 })()
if (E.isLeft(answers)) throw new Error(dsl.explain(answers.left))
console.log(`trained in  ${folder}`)
console.log(`answer      ${answers.right[0]!.split('\n')[0]}`)
console.log(`tf.memory() ${held.numTensors} tensors, ${held.numBytes} bytes are held`)
