/** `tunec doctor`: what works on this machine. */
import os from 'node:os'
import { backendNames, choose, healthOf } from '../backends.ts'
import { size } from '../report/units.ts'
import type { Run } from './command.ts'
import { surveyed } from './gpu-report.ts'

const OLDEST = [20, 11] as const

const nodeIsOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])
}

export const run: Run = async (_, __, t) => {
  const { bold, dim, green, red } = t.style
  const cores = os.availableParallelism()
  const old = nodeIsOld(process.version)
  t.out(
    `${bold('node')}      ${process.version}${old ? red(` is older than ${OLDEST.join('.')}`) : ''}, ${process.platform} ${process.arch}`,
    `${bold('machine')}   ${cores} ${cores === 1 ? 'core' : 'cores'}, ${size(os.totalmem())} of memory, ${size(os.freemem())} free`,
    '',
    bold('backends'),
  )
  for (const name of backendNames) {
    const { doc, why } = await healthOf(name)
    t.out(
      `  ${name.padEnd(10)} ${why === null ? green('works') : red('does not work')}${doc === '' ? '' : dim(`  ${doc}`)}`,
    )
    if (why !== null) t.out(`             ${why}`)
  }
  t.out('', bold('gpu'), ...(await surveyed(t.style)))
  const chosen = await choose('auto')
  t.out(
    '',
    'why' in chosen
      ? `compiler.backend: auto (${backendNames[0]}) does not work here: ${chosen.why}`
      : `compiler.backend: auto runs on ${bold(chosen.name)}`,
  )
  return old || 'why' in chosen ? 1 : 0
}
