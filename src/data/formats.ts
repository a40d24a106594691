/** Formats of data files, by the ends of their names. */
import { extname } from 'node:path'

export type Format = 'csv' | 'tsv' | 'json' | 'jsonl'

export const byExtension: Readonly<Record<string, Format>> = {
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
}

/** Whether a file of that name can be read as a table. */
export const readable = (name: string): boolean => extname(name).toLowerCase() in byExtension
