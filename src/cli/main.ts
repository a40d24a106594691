#!/usr/bin/env node
/** The command `tunec`. */
import { runCommand } from './program.ts'
import { terminal } from './terminal.ts'

/** A reader that closes the pipe, such as `head`, has seen enough. */
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (e: NodeJS.ErrnoException) => process.exit(e.code === 'EPIPE' ? 0 : 1))

process.exitCode = await runCommand(process.argv.slice(2), terminal())
