/** What a pass changed: the shortest script between two texts, and a reading that renumbering does not disturb. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from '../ir/parse.ts'
import { editScript } from '../src/plan/myers.ts'
import { foldRuns } from '../src/plan/fold.ts'
import { diffStages } from '../src/plan/dump.ts'
import { dsl } from '../src/dsl.ts'
import { fc, holds, runs } from './fc.ts'
import { right } from './right.ts'

const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 })

/** Length of the longest common subsequence, by the textbook recurrence. */
const common = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number => {
  const best = a.map(() => b.map(() => 0))
  const at = (i: number, j: number): number => (i < 0 || j < 0 ? 0 : best[i]![j]!)
  a.forEach((x, i) =>
    b.forEach((y, j) => {
      best[i]![j] = x === y ? at(i - 1, j - 1) + 1 : Math.max(at(i - 1, j), at(i, j - 1))
    }),
  )
  return at(a.length - 1, b.length - 1)
}

test('an edit script leads from one text to the other and is as short as can be', () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      const script = editScript(a, b)
      const before = script.flatMap((e) => (e._tag === 'add' ? [] : [a[e.before]]))
      const after = script.flatMap((e) => (e._tag === 'drop' ? [] : [b[e.after]]))
      const kept = script.filter((e) => e._tag === 'keep')
      for (const e of kept) holds(e._tag === 'keep' && a[e.before] === b[e.after])
      assert.deepEqual(before, a)
      assert.deepEqual(after, b)
      assert.equal(kept.length, common(a, b))
    }),
    runs(500),
  )
})

test('folding loses no line', () => {
  fc.assert(
    fc.property(text, (lines) => {
      const unfolded: string[] = []
      for (const x of foldRuns(lines, (l) => l))
        if (typeof x === 'string') unfolded.push(x)
        else for (let i = 0; i < x.times; i++) unfolded.push(...unfolded.slice(-x.lines))
      assert.deepEqual(unfolded, lines)
    }),
    runs(500),
  )
})

const program = (lines: ReadonlyArray<string>): string =>
  [
    'program @p {',
    '  %w = train load "w" : f32[4, 4]',
    '  fn @f(%x: f32[2, 4]) {',
    ...lines.map((l) => `    ${l}`),
    '  }',
    '}',
  ].join('\n')

const diff = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): string =>
  diffStages(right(parse(program(before))), right(parse(program(after))))

test('equal programs have no difference, however their values were numbered', () => {
  const a = ['layers.0.mlp:', '%5 = add %x, %x : f32[2, 4]', 'return y = %5']
  const b = ['layers.0.mlp:', '%9 = add %x, %x : f32[2, 4]', 'return y = %9']
  assert.equal(diff(a, b), '')
})

test('an equation put in renumbers what follows, and shows as one line', () => {
  const before = [
    'layers.0.mlp:',
    '%0 = scale %x {by=2} : f32[2, 4]',
    '%1 = add %0, %0 : f32[2, 4]',
    '%2 = mul %1, %1 : f32[2, 4]',
    'return y = %2',
  ]
  const after = [
    'layers.0.mlp:',
    '%0 = scale %x {by=2} : f32[2, 4]',
    '%1 = dot %0, %w {tb} : f32[2, 4]',
    '%2 = add %0, %0 : f32[2, 4]',
    '%3 = mul %2, %2 : f32[2, 4]',
    'return y = %3',
  ]
  assert.equal(
    diff(before, after),
    [
      '@ fn @f',
      '@ layers.0.mlp',
      '    %0 = scale %x {by=2} : f32[2, 4]',
      '+   %1 = dot %0, %w {tb} : f32[2, 4]',
      '    %2 = add %0, %0      : f32[2, 4]',
      '    %3 = mul %2, %2      : f32[2, 4]',
      '',
    ].join('\n'),
  )
})

test('an operand that another value takes the place of is a change; a type is too', () => {
  const lines = (arg: string, by: number) => [
    'layers.0.mlp:',
    `%0 = scale %x {by=${by}} : f32[2, 4]`,
    '%1 = scale %x {by=3} : f32[2, 4]',
    `%2 = add ${arg}, %1 : f32[2, 4]`,
    'return y = %2',
  ]
  const rewired = diff(lines('%0', 2), lines('%1', 2))
  assert.match(rewired, /^- {3}%2 = add %0, %1 .*\n\+ {3}%2 = add %1, %1 /m)
  assert.doesNotMatch(rewired, /^[-+] {3}%[01] /m)
  const replaced = diff(lines('%0', 2), lines('%0', 4))
  assert.deepEqual(
    replaced.match(/^[-+].*/gm)?.map((l) => l.replace(/ +: .*/, '')),
    ['-   %0 = scale %x {by=2}', '+   %0 = scale %x {by=4}'],
  )
})

test('layers that change alike are shown once, and one that does not is shown too', () => {
  const layer = (i: number, by: number, doubled: boolean): ReadonlyArray<string> => [
    `layers.${i}.mlp:`,
    `%${10 * i} = scale ${i === 0 ? '%x' : `%${10 * i - 9}`} {by=${by}} : f32[2, 4]`,
    doubled
      ? `%${10 * i + 1} = add %${10 * i}, %${10 * i} : f32[2, 4]`
      : `%${10 * i + 1} = mul %${10 * i}, %${10 * i} : f32[2, 4]`,
  ]
  const body = (by: number, odd: number): ReadonlyArray<string> => [
    ...[0, 1, 2, 3, 4].flatMap((i) => layer(i, by, i === odd)),
    'return y = %41',
  ]
  const out = diff(body(2, -1), body(3, 4))
  assert.match(out, /^@ layers\.2 … layers\.3: as in layers\.1$/m)
  assert.match(out, /^@ layers\.4\.mlp$/m)
  assert.equal(out.match(/^\+ {3}%\d+ = scale/gm)?.length, 3)
})

test('every pass of a real pipeline has a diff that starts from nothing and fits a screen or two', () => {
  const base = right(dsl.base('meta-llama/Llama-3.2-1B'))
  const forward = right(
    dsl.model('m', { ...base.spec, layers: 4 }, { rows: 1, length: 64, generate: null }),
  )
  const { trace } = right(
    dsl.compose(
      ...dsl.pipeline({
        lora: { r: 4, alpha: 8, dropout: 0.1, targets: ['q_proj'] },
        quantize: { block: 64, nested: 256 },
        compute: 'bf16',
        optimizer: { beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0, decoupled: true, clip: 1 },
        recompute: { _tag: 'layers' },
      }),
    )(forward),
  )
  assert.equal(trace.length, 10)
  trace.forEach((stage, i) => {
    const out = diffStages((trace[i - 1] ?? stage).program, stage.program)
    if (i === 0) assert.equal(out, '')
    else holds(out.split('\n').length < 300, `${stage.pass}: ${out.split('\n').length} lines`)
  })
})
