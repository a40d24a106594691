/** The Ludwig-style YAML: read, checked, completed, printed. */
export { resolveBatch, type Batch } from './batch.ts'
export { parseBytes } from './bytes.ts'
export { parseConfig, type ParsedConfig, type ParseOptions } from './parse.ts'
export type { Notice } from './problem.ts'
export { renderConfig } from './render.ts'
export type { Config, Trainer } from './schema/config.ts'
export { columnName, parseTemplate, type TemplatePart } from './template.ts'
