#!/usr/bin/env node
/** The command `tunec`. */
import { runCommand } from './program.ts'
import { terminal } from './terminal.ts'

/**
 * A reader that closes the pipe, such as `head`, has seen enough; that is no reason to give up the work. What cannot be
 * written for another cause, as on a full disk, makes a command that did its work fail all the same.
 */
let lost = false
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (e: NodeJS.ErrnoException) => {
    lost ||= e.code !== 'EPIPE' && e.code !== 'ERR_STREAM_DESTROYED'
  })

const code = await runCommand(process.argv.slice(2), terminal())
process.exitCode = code
process.on('exit', () => {
  if (code === 0 && lost) process.exitCode = 1
})
