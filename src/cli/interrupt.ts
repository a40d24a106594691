/** Ctrl-C: once asks for a stop, twice quits. */
import type { Terminal } from './terminal.ts'

const QUIT = 130

/** Runs `body`, which may ask whether to stop. */
export const interruptible = async <T>(
  t: Terminal,
  body: (stop: () => boolean) => Promise<T>,
): Promise<T> => {
  let asked = false
  const onSignal = (): void => {
    if (asked) process.exit(QUIT)
    asked = true
    t.note('stopping after this step, then saving; once more to quit at once')
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    return await body(() => asked)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}
