/** `tunec render-config`: a config with every default written out. */
import * as E from 'fp-ts/lib/Either.js'
import { renderConfig } from '../config/index.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { textOf, type Run } from './command.ts'
import { openConfig, refuse, showNotices } from './open.ts'

export const run: Run = async (file, o, t) => {
  const opened = openConfig(file, o)
  if (E.isLeft(opened)) return refuse(opened.left, t)
  showNotices(file, opened.right.notices, t)
  const [text, output] = [renderConfig(opened.right.config), textOf(o, 'output')]
  if (output === undefined) return (t.out(text.trimEnd()), 0)
  const wrote = await atomicWrite(output, Buffer.from(text))()
  if (E.isLeft(wrote)) return refuse([wrote.left], t)
  t.out(`written to ${output}`)
  return 0
}
