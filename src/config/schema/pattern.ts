/** Regular expressions in Python's words that mean the same in JavaScript's. */
import { guard } from './codec.ts'

/** What Python reads and JavaScript does not, or otherwise: flags within, named groups, `\A`, `\Z`, comments, conditions, possessives. */
const foreign = /\(\?(?:[aiLmsux-]|P|#|\()|\\[AZ]|[*+?}]\+/

const compiles = (text: string): boolean => {
  try {
    new RegExp(text)
    return true
  } catch {
    return false
  }
}

export const pattern = guard(
  'a regular expression without flags, named groups, \\A or \\Z',
  (u): u is string =>
    typeof u === 'string' && u !== '' && compiles(u) && !foreign.test(u.replaceAll('\\\\', '')),
)
