/** Arbitrary texts, and prompts that obey every rule. */
import fc from 'fast-check'

import type { Config } from '../src/config/index.ts'

/** Text that YAML writers and readers get wrong. */
const awkward = fc.constantFrom(
  'yes',
  'null',
  '~',
  '1e-4',
  '0x1F',
  '- a',
  '#x',
  'a: b',
  'a #b',
  ' a ',
  'a\n',
  'a\n\n',
  '\n a',
  "it's",
  '"',
  '|',
  '>-',
  '\ta',
  '&a',
  '*a',
  '!x',
  '%y',
  '@z',
  'ü\u2028é\u0085',
  '\ufeffa',
  'a\r\nb',
  '<<',
  '---',
  '...',
)

export const text = fc
  .oneof(awkward, fc.string({ minLength: 1 }), fc.string({ unit: 'binary', minLength: 1 }))
  .filter((s) => s.trim() !== '')

const orNull = <A>(a: fc.Arbitrary<A>) => fc.option(a)

const literal = text.map((s) => s.replace(/[{}]/g, (brace) => brace + brace))

const retrieval: fc.Arbitrary<Config['prompt']['retrieval']> = fc.constantFrom(
  { type: null, k: 0, model_name: null },
  { type: 'random' as const, k: 2, model_name: null },
  { type: 'semantic' as const, k: 1, model_name: 'folder' },
)

export const prompt: fc.Arbitrary<Config['prompt']> = fc
  .tuple(orNull(text), literal, fc.constantFrom('{a}', '{b c:.2f}', '{__sample__}'), fc.boolean())
  .chain(([task, words, field, bare]) =>
    retrieval
      .filter((r) => r.type === null || !bare || task !== null)
      .map((r) => {
        const specials = `${task === null ? '' : '{__task__}'}${r.type === null ? '' : '{__context__}'}`
        return { task, template: bare ? null : `${words}${field}${specials}`, retrieval: r }
      }),
  )
