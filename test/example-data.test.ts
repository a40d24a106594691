/** The bundled job's rows: reproducible, disjoint, and right when somebody else works them out. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import { labels, preferences } from '../examples/code-instructions/preferences.ts'
import { defaults, generate, type Sizes } from '../examples/code-instructions/generate.ts'

interface Row {
  readonly instruction: string
  readonly output: string
  readonly split: string
}

const committed = (name: string): string =>
  readFileSync(new URL(`../examples/code-instructions/${name}`, import.meta.url), 'utf8')

const rows = (csv: string): readonly Row[] => parse<Row>(csv, { columns: true })

const made = (sizes: Partial<Sizes>): string => {
  const csv = generate({ ...defaults, ...sizes })
  assert.ok(E.isRight(csv), 'the generator has enough questions')
  return csv.right
}

const of = (all: readonly Row[], split: string): readonly Row[] =>
  all.filter((r) => r.split === split)

const small = rows(committed('data.csv'))
const large = rows(committed('data-1000.csv'))

test('the committed files are what the generator writes', () => {
  assert.equal(made({}), committed('data.csv'))
  assert.equal(made({ train: 1000 }), committed('data-1000.csv'))
  assert.equal(preferences(), committed('preferences.csv'))
  assert.equal(labels(), committed('labels.csv'))
})

test('both files hold out the same rows, and the small one trains on the first of the large', () => {
  assert.deepEqual(
    ['0', '1', '2'].map((s) => of(small, s).length),
    [100, 20, 220],
  )
  assert.equal(of(large, '0').length, 1000)
  assert.deepEqual(of(large, '1'), of(small, '1'))
  assert.deepEqual(of(large, '2'), of(small, '2'))
  assert.deepEqual(of(large, '0').slice(0, 100), of(small, '0'))
})

test('no instruction and no answer comes twice, within a split or across them', () => {
  assert.equal(new Set(large.map((r) => r.instruction)).size, large.length)
  assert.equal(new Set(large.map((r) => r.output)).size, large.length)
})

test('an instruction has one answer, whatever the seed', () => {
  const answers = new Map<string, string>()
  const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 })
  fc.assert(
    fc.property(seeds, (seed) => {
      for (const { instruction, output } of rows(made({ seed, train: 1000 }))) {
        assert.equal(answers.get(instruction) ?? output, output, instruction)
        answers.set(instruction, output)
      }
    }),
    { numRuns: 20 },
  )
})

test('more rows than there are questions is an error that names the kind', () => {
  const csv = generate({ ...defaults, train: 100_000 })
  assert.ok(E.isLeft(csv))
  assert.match(csv.left.message, /too few different answers/)
})

/** What the answer has to do when Python runs it, worked out from the instruction's text alone. */
interface Expected {
  readonly kind: string
  readonly value?: unknown
  readonly printed?: string
  /** A function of one number: its results for `probes`. */
  readonly results?: readonly unknown[]
}

const probes = [-7, 0, 1, 12, 60, 97, 2520, 1_000_003]

const upTo = (low: number, high: number): readonly number[] => {
  const all: number[] = []
  for (let n = low; n <= high; n++) all.push(n)
  return all
}

const numbersIn = (text: string): readonly number[] => (text.match(/\d+/g) ?? []).map(Number)

const parities = (text: string): Expected => {
  const word = / (even|odd) numbers between /.exec(text)?.[1] ?? ''
  const [length, low, high] = numbersIn(text)
  const value = upTo(low ?? 0, high ?? 0).filter((n) => (n % 2 === 0) === (word === 'even'))
  assert.equal(value.length, length, `the length that is asked for: ${text}`)
  return { kind: word, value }
}

const expected = (text: string): Expected => {
  const [a = NaN, b = NaN] = numbersIn(text)
  const named = numbersIn(/\[(.*)\]/.exec(text)?.[1] ?? '')
  if (/even|odd/.test(text)) return parities(text)
  if (/multiples of/.test(text))
    return { kind: 'multiples', value: upTo(1, b).filter((n) => n % a === 0) }
  if (/function (that|which) adds/.test(text))
    return { kind: 'add', results: probes.map((x) => x + a) }
  if (/divisib/.test(text))
    return { kind: 'divisible', results: [...probes, a, 3 * a].map((x) => x % a === 0) }
  if (/[Rr]everse/.test(text)) return { kind: 'reverse', value: [...named].reverse() }
  if (/not including/.test(text))
    return {
      kind: 'range',
      printed: upTo(a, b - 1)
        .map((n) => `${n}\n`)
        .join(''),
    }
  const word = /the string "(\w+)"/.exec(text)?.[1]
  if (word !== undefined) return { kind: 'repeat', printed: `${word.repeat(a)}\n` }
  if (/maximum|largest/.test(text)) return { kind: 'maximum', value: Math.max(...named) }
  assert.match(text, /numbers from 1 to \d+\.$/, 'an instruction that the test does not know')
  return { kind: 'sum', value: (b * (b + 1)) / 2 }
}

test('every split has the ten kinds in equal parts', () => {
  for (const [split, each] of [
    ['0', 100],
    ['1', 2],
    ['2', 22],
  ] as const) {
    const counts = new Map<string, number>()
    for (const r of of(large, split)) {
      const { kind } = expected(r.instruction)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
    assert.deepEqual(
      [...counts.values()],
      Array.from({ length: 10 }, () => each),
    )
  }
})

test('the arrays hold the numbers that the instruction asks for', () => {
  for (const { instruction, output } of large.filter((r) => r.output.startsWith('arr = ')))
    assert.deepEqual(JSON.parse(output.slice(6)), expected(instruction).value, instruction)
})

/** Runs each answer in a namespace of its own and says what it is, prints or returns. */
const python = `
import contextlib, io, json, sys
def run(case):
    space, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            value = eval(case['code'], space)
        except SyntaxError:
            exec(case['code'], space)
            value = space.get('arr')
    made = [v for k, v in space.items() if k != '__builtins__' and callable(v)]
    return {'value': value, 'printed': out.getvalue(),
            'results': [f(x) for f in made for x in case['probes']]}
json.dump([run(c) for c in json.load(sys.stdin)], sys.stdout)
`

test('every answer, run by Python, does what its instruction says', (t) => {
  const cases = large.map(({ instruction, output }) => {
    const want = expected(instruction)
    const a = numbersIn(instruction)[0] ?? NaN
    const more = want.kind === 'divisible' ? [a, 3 * a] : []
    return { instruction, code: output, probes: [...probes, ...more], want }
  })
  const run = spawnSync('python3', ['-c', python], { input: JSON.stringify(cases) })
  if (run.error !== undefined) return t.skip('python3 is not here: the answers were not run')
  assert.equal(run.status, 0, run.stderr.toString())
  const got: unknown = JSON.parse(run.stdout.toString())
  const want = cases.map(({ want: { value = null, printed = '', results = [] } }) => ({
    value,
    printed,
    results,
  }))
  assert.deepEqual(got, want)
})
