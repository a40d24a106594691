/** The length of the command line that started this process: onnxruntime reads it, and a long one overflows its stack. */

/** It crashed from some 30,000 bytes on with 8 MB of stack. */
const MOST = 2 ** 14

/** Bytes of a command line with the zero after each argument, as the system keeps it. */
export const bytesOf = (args: ReadonlyArray<string>): number =>
  args.reduce((n, arg) => n + Buffer.byteLength(arg) + 1, 0)

/** Why onnxruntime cannot be started in a process with these arguments; null: it can. */
export const tooLongFor = (
  args: ReadonlyArray<string> = [...process.execArgv, ...process.argv],
): string | null =>
  bytesOf(args) <= MOST
    ? null
    : `the command line has ${bytesOf(args)} bytes, and onnxruntime crashes on more than some ${MOST}: put long texts into a file (--prompt-file, or - for standard input)`
