/** The words that stand for "no value" where a file has nothing but text. */

/**
 * What pandas' read_csv takes for a missing cell by default (STR_NA_VALUES in pandas/_libs/parsers.pyx, 2.0 and later),
 * in quotes or not. Ludwig reads its CSV files with it and does not change the list.
 */
export const missingWords: ReadonlySet<string> = new Set([
  '',
  '#N/A',
  '#N/A N/A',
  '#NA',
  '-1.#IND',
  '-1.#QNAN',
  '-NaN',
  '-nan',
  '1.#IND',
  '1.#QNAN',
  '<NA>',
  'N/A',
  'NA',
  'NULL',
  'NaN',
  'None',
  'n/a',
  'nan',
  'null',
])
