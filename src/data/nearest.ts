/** Column names are compared by the same measure as config keys. */
export { nearest } from '../config/nearest.ts'
