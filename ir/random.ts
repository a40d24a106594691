/** Counter-based randomness: a value depends on where it stands, not on what was drawn before. */

/**
 * A 32-bit hash of (seed, salt, index): two rounds of multiply and xor-shift after Wellons' lowbias32. The key of a
 * row is xored in: added, rows whose keys lie close would be shifted copies of each other.
 */
export const hash32 = (seed: number, salt: number, index: number, key = 0): number => {
  let h = ((Math.imul(index, 0x9e3779b1) + Math.imul(salt, 0x85ebca6b) + seed) | 0) ^ key
  h ^= h >>> 16
  h = Math.imul(h, 0x7feb352d)
  h ^= h >>> 15
  h = Math.imul(h, 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}
