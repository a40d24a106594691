/** Runs the job of the resume test in a process of its own: `train-child.ts FOLDER [RESULTS]`; one line per event. */
import { reference } from '../backends/reference/index.ts'
import { train } from '../src/train/train.ts'
import { planFor, quiet } from './train-job.ts'
import { resumed } from './resume-job.ts'
import { right } from './right.ts'

const [folder, resume] = process.argv.slice(2)
const { options } = quiet(folder!, resume === undefined ? {} : { resume })
const onEvent = (e: { readonly _tag: string }): void => {
  process.stdout.write(`${e._tag}\n`)
}
right(await train(planFor(folder!, resumed), reference, { ...options, onEvent })())
