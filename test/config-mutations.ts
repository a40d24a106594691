/** Random damage to a YAML text, of the kinds that people do. */
import fc from 'fast-check'

type Mutation = (text: string) => string

const onLine = (at: number, change: (line: string) => ReadonlyArray<string>): Mutation => {
  return (text) => {
    const lines = text.split('\n')
    const i = at % lines.length
    return [...lines.slice(0, i), ...change(lines[i] ?? ''), ...lines.slice(i + 1)].join('\n')
  }
}

const spliced = (at: number, removed: number, added: string): Mutation => {
  return (text) => {
    const i = at % (text.length + 1)
    return text.slice(0, i) + added + text.slice(i + removed)
  }
}

const character = fc.oneof(
  fc.constantFrom(...' :\n\t-[]{}#&*!|>\'"%@`,?~\\0aé\u0000\u2028<='),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
)

const value = fc.constantFrom(
  '',
  'null',
  'true',
  'no',
  '-1',
  '1e400',
  '.nan',
  '"1e-4"',
  'text',
  '[]',
  '{}',
  '[1, [2], {a: b}]',
  '{type: lora}',
  '&a',
  '*a',
  '!!str 4',
  '|',
  '"open',
  '99999999999999999999999',
)

const swapLetters = (line: string, at: number): string => {
  const i = at % Math.max(line.length - 1, 1)
  return line.slice(0, i) + (line[i + 1] ?? '') + (line[i] ?? '') + line.slice(i + 2)
}

const one: fc.Arbitrary<Mutation> = fc.nat(100_000).chain((at) =>
  fc.oneof(
    fc.tuple(fc.nat(3), character).map(([removed, added]) => spliced(at, removed, added)),
    fc.constant(spliced(at, 1, '')),
    fc.constant(onLine(at, () => [])),
    fc.constant(onLine(at, (line) => [line, line])),
    fc.constant(onLine(at, (line) => [swapLetters(line, at >> 6)])),
    fc
      .constantFrom('', ' ', '    ', '\t')
      .map((indent) => onLine(at, (line) => [indent + line.trimStart()])),
    value.map((v) => onLine(at, (line) => [line.replace(/:.*/, () => `: ${v}`)])),
    fc.nat(100_000).map((end) => (text: string) => text.slice(0, end % text.length)),
  ),
)

/** One to five mutations in a row. */
export const mutation: fc.Arbitrary<Mutation> = fc
  .array(one, { minLength: 1, maxLength: 5 })
  .map((all) => (text) => all.reduce((damaged, mutate) => mutate(damaged), text))
