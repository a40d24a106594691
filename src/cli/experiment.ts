/** `tunec experiment`: a config trained, and its answers to held-out rows written and measured; one that trains nothing is asked alone. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { textOf, type Options, type Run } from './command.ts'
import { openConfig, refuse } from './open.ts'
import { run as predict } from './predict.ts'
import { trained } from './train.ts'

/** Files beside those of the run, as Ludwig puts them. */
const asking = (o: Options, folder: string): Options => ({
  ...o,
  split: textOf(o, 'evalSplit')!,
  output: folder,
})

export const run: Run = async (file, o, t) => {
  const opened = openConfig(file, o)
  if (E.isLeft(opened)) return refuse(opened.left, t)
  if (opened.right.config.trainer.type === 'none') {
    const name = `${textOf(o, 'experimentName')!}_${textOf(o, 'modelName')!}`
    return predict(file, asking(o, path.join(textOf(o, 'outputDirectory')!, name)), t)
  }
  const done = await trained(file, o, t)
  if (E.isLeft(done)) return done.left
  const { resultsFolder } = done.right
  // The run knows its data; named again, all of its rows would be asked.
  return predict(resultsFolder, asking({ ...o, dataset: undefined }, resultsFolder), t)
}
