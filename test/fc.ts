/** fast-check with one fixed seed for all test files; SEED and RUNS in the environment search elsewhere and further. */
import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env['SEED'] ?? 1) })

/** Number of runs of a property, multiplied by RUNS. */
export const runs = (n: number): { numRuns: number } => ({
  numRuns: n * Number(process.env['RUNS'] ?? 1),
})

export { fc }
