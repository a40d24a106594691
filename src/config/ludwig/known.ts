/** How the tables of Ludwig's other keys are written. */

/** A key that Ludwig knows and tunec does not yet. */
export interface Refusal {
  /** Values that mean "not used": accepted, because leaving the key out says the same. */
  readonly inert: ReadonlyArray<unknown>
  /** What to do instead, an imperative without a full stop; it may look at the section the key stands in. */
  readonly instead: string | ((section: Readonly<Record<string, unknown>>) => string)
  /** The section's types that have this key; with any other type Ludwig does not know it either. */
  readonly types?: ReadonlyArray<string>
}

export interface KnownSection {
  readonly section: Known
}

/** A section, or a refused key; a name that ends in `*` stands for all names with that beginning. */
export interface Known {
  readonly [key: string]: Refusal | KnownSection
}

/** A refused key and its inert values. */
export const no = (instead: Refusal['instead'], ...inert: ReadonlyArray<unknown>): Refusal => ({
  inert,
  instead,
})

const leaveOut = 'leave it out'

/** Refused keys by name, each with its one inert value, Ludwig's default. */
export const defaults = (values: Readonly<Record<string, unknown>>, instead = leaveOut): Known =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, no(instead, value)]))

/** Keys that exist only with some `type` of the section they stand in. */
export const keysOfType = (types: string, keys: string): Known =>
  Object.fromEntries(
    keys.split(' ').map((key) => [key, { ...no(leaveOut), types: types.split(' ') }]),
  )

/** The table's row for a key, its own or one by beginning. */
export const lookUp = (known: Known, key: string): Known[string] | undefined => {
  if (Object.hasOwn(known, key)) return known[key]
  const row = Object.entries(known).find(
    ([name]) => name.endsWith('*') && key.startsWith(name.slice(0, -1)),
  )
  return row?.[1]
}
