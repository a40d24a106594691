/** One way to break the compiler, and the test file that must notice. */
export interface Mutation {
  readonly name: string
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly from: string
  readonly to: string
  readonly test: string
}

export const m = (
  name: string,
  file: string,
  from: string,
  to: string,
  test: string,
): Mutation => ({
  name,
  file,
  from,
  to,
  test,
})
