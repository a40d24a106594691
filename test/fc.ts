/** fast-check with one fixed seed for all test files; SEED and RUNS in the environment search elsewhere and further. */
import assert from 'node:assert/strict'
import fc from 'fast-check'

fc.configureGlobal({
  seed: Number(process.env['SEED'] ?? 1),
  // The mutation check only asks whether a law fails, not for the smallest program that fails it.
  endOnFailure: process.env['SHRINK'] === '0',
})

/** Number of runs of a property, multiplied by RUNS. */
export const runs = (n: number): { numRuns: number } => ({
  numRuns: n * Number(process.env['RUNS'] ?? 1),
})

/** What must hold; with a message, since node reads source files to make one. */
export const holds: (value: unknown, why?: string) => asserts value = (value, why) =>
  assert.ok(value, why ?? 'it does not hold')

export { fc }
