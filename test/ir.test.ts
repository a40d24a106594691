/** The text of a program is the program; what is not well formed is refused with a reason. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import type { Eqn, Fn, Program, State } from '../ir/graph.ts'
import { parse } from '../ir/parse.ts'
import { print } from '../ir/print.ts'
import { showReason } from '../ir/reason.ts'
import { tensor } from '../ir/type.ts'
import { verify } from '../ir/verify.ts'
import { compile } from '../passes/pass.ts'
import { pipeline } from '../src/pipeline.ts'
import { program, trainable } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import { sameBits, run, worldOf } from './laws.ts'
import { forward, forwardWithGeneration, plainSpec, spec, techniques } from './programs.ts'
import { right } from './right.ts'

const parsed = (text: string): Program => {
  const p = parse(text)
  if (E.isLeft(p)) throw new Error(`${showReason(p.left)}\n${text}`)
  return p.right
}

test('random programs are well formed', () => {
  fc.assert(
    fc.property(fc.oneof(program, trainable), (p) => E.isRight(verify(p))),
    runs(300),
  )
})

test('text: parse ∘ print changes nothing, and the parsed program computes the same', () => {
  fc.assert(
    fc.property(program, fc.nat(), (p, seed) => {
      const q = parsed(print(p))
      assert.equal(print(q), print(p))
      const [a, b] = [run(p, worldOf(seed)), run(q, worldOf(seed))]
      for (const [name, x] of Object.entries(a.outs)) holds(sameBits(x, b.outs[name]!), name)
      for (const [name, x] of Object.entries(a.updates)) holds(sameBits(x, b.updates[name]!), name)
    }),
    runs(150),
  )
})

test('text: round trip after every pass of the real pipeline, offsets included', () => {
  fc.assert(
    fc.property(spec, techniques, (s, o) => {
      for (const stage of right(compile(pipeline(o))(forward(s, 1))).trace) {
        const q = parsed(print(stage.program))
        assert.equal(print(q), print(stage.program), stage.pass)
        for (const [i, f] of stage.program.fns.entries())
          assert.equal(q.fns[i]!.offsets?.size, f.offsets?.size, 'every value keeps its place')
      }
    }),
    runs(12),
  )
})

test('text: generation too', () => {
  const p = forwardWithGeneration(plainSpec)
  assert.equal(print(parsed(print(p))), print(p))
})

test('text: any checkpoint key, number and flag survives', () => {
  const keys = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(keys, fc.double(), fc.boolean(), (key, value, ta) => {
      const state: State = {
        name: 'w.weight',
        type: tensor('f32', 2, 2),
        role: 'frozen',
        recipe: { _tag: 'load', key },
      }
      const filled: State = { ...state, name: 'c', recipe: { _tag: 'fill', value } }
      const eqns: ReadonlyArray<Eqn> = [
        {
          outs: [2],
          op: 'dot',
          args: [0, 1],
          attrs: { ta, tb: !ta },
          types: [state.type],
          place: { scope: 'a b', stage: 'recompute' },
        },
        {
          outs: [3],
          op: 'scale',
          args: [2],
          attrs: { by: value },
          types: [state.type],
          place: { scope: '', stage: 'forward' },
        },
      ]
      const f: Fn = {
        name: 'f',
        inputs: [],
        reads: [
          { id: 0, state: 'w.weight' },
          { id: 1, state: 'c' },
        ],
        eqns,
        outs: [{ name: 'y', id: 3 }],
        updates: [],
      }
      const p: Program = { name: 'any', state: [state, filled], fns: [f] }
      assert.deepEqual(parsed(print(p)), p)
    }),
    runs(300),
  )
})

const base = `program @p {
  %w.weight = train load "w.weight" : f32[2, 3]
  %b = frozen fill 0.5 : f32[2]
  %e.weight = frozen nf4(load "e") : nf4/64/256[4, 4]
  fn @step(%x: f32[4, 3], %seed: i32[], %keys: i32[4]) minimizes loss {
    layers.0.mlp:
      %0 = dot %x, %w.weight {tb} : f32[4, 2]
      %1 = addRow %0, %b : f32[4, 2]
      %2 = dropout %1, %seed, %keys {rate=0.5, salt=1} : f32[4, 2]
    loss backward:
      %3 = sum %2 : f32[]
    update %w.weight = %w.weight
    return loss = %3
  }
}
`
const edit = (from: string, to: string): string => {
  holds(base.includes(from), from)
  return base.replace(from, to)
}

test('text: comments and layout do not matter', () => {
  const p = parsed(base)
  const loose = edit('{tb} :', '{tb}     :   // a product\n').replace(':   // a product\n', ': ')
  assert.equal(print(parsed(loose)), print(p))
  assert.equal(print(parsed(`// head\n${base.replaceAll('\n', '  // tail\n')}`)), print(p))
})

const broken: ReadonlyArray<readonly [what: string, text: string, reason: RegExp]> = [
  ['a value used before it is defined', edit('dot %x', 'dot %9'), /line 7: %9 is not defined/],
  ['a value bound twice', edit('%1 = addRow', '%0 = addRow'), /line 8: %0 is bound twice/],
  ['an unknown op', edit('addRow', 'addColumn'), /line 8: no op "addColumn"/],
  [
    'an unknown role',
    edit('train load', 'tuned load'),
    /line 2: no role "tuned"; there are frozen/,
  ],
  ['an unknown dtype', edit(': f32[2]', ': f24[2]'), /line 3: "f24\[2\]" is not a tensor type/],
  ['a bad recipe', edit('fill 0.5', 'filled'), /line 3: expected a recipe/],
  ['a recipe that is no number', edit('fill 0.5', 'fill half'), /line 3: "half" is not a number/],
  ['a bad string', edit('"w.weight"', '"\\x"'), /line 2: /],
  ['attributes of another op', edit('{tb}', '{by=2}'), /line 7: attributes {by=2} do not fit dot/],
  ['an attribute too many', edit('rate=0.5', 'rate=0.5, p=1'), /line 9: attributes .* do not fit/],
  ['a missing attribute', edit('rate=0.5, ', ''), /line 9: attributes .* do not fit dropout/],
  ['a missing operand', edit('addRow %0, %b', 'addRow %0'), /addRow: takes 2 operands, got 1/],
  [
    'a wrong recorded type',
    edit('%3 = sum %2 : f32[]', '%3 = sum %2 : f32[1]'),
    /recorded f32\[1\], the rule gives f32\[\]/,
  ],
  [
    'shapes that do not fit',
    edit('f32[4, 3], %seed', 'f32[4, 4], %seed'),
    /contracts 4 with 3: f32\[4, 4\] and f32\[2, 3\]/,
  ],
  ['too many results', edit('%3 = sum', '%3, %4 = sum'), /gives 1 results, binds 2/],
  ['state declared twice', edit('%e.weight = frozen', '%b = frozen'), /b is declared once/],
  ['a function defined twice', base.replace(/(  fn[^]*?\n  }\n)/, '$1$1'), /step is declared once/],
  ['an update of unknown state', edit('update %w.weight', 'update %v'), /updates v: no such state/],
  ['an update of another type', edit('= %w.weight\n', '= %3\n'), /f32\[2, 3\] with f32\[\]/],
  ['an output that is not there', edit('loss = %3', 'loss = %7'), /line 13: %7 is not defined/],
  [
    'an objective that is no scalar',
    edit('loss = %3', 'loss = %2'),
    /minimizes loss: it is not an f32\[\] output/,
  ],
  ['no objective', edit('minimizes loss', 'minimizes gain'), /minimizes gain/],
  ['two inputs of one name', edit('%seed: i32[]', '%seed: i32[], %x: i32[]'), /names %x once/],
  [
    'a name that is a number',
    edit('%b = frozen', '%7 = frozen').replace('%0, %b', '%0, %7'),
    /"7": not a name/,
  ],
  [
    'plain state that is encoded',
    edit('nf4(load "e") : nf4/64/256', 'load "e" : nf4/64/256'),
    /cannot start as load/,
  ],
  ['encoded state that is plain', edit(': nf4/64/256', ': f32'), /f32\[4, 4\] cannot start as nf4/],
  ['a bad offset', edit(': f32[2]', ': f32[2] @x'), /line 3: .*offset such as @256/],
  [
    'a value without a place',
    edit('%3 = sum %2 : f32[]', '%3 = sum %2 : f32[] @256'),
    /has a place for %/,
  ],
  ['a program that does not end', base.slice(0, -2), /not closed/],
  ['text after the end', `${base}more`, /line 16: text after the program/],
  ['nothing', '', /line 1: expected program/],
]
for (const [what, text, reason] of broken)
  test(`refused: ${what}`, () => {
    const r = parse(text)
    holds(E.isLeft(r))
    assert.match(showReason(r.left), reason)
  })

test('refused: broken by hand where no text could say it', () => {
  const p = parsed(base)
  const f = p.fns[0]!
  const withFn = (g: Partial<Fn>): Program => ({ ...p, fns: [{ ...f, ...g }] })
  const first = f.eqns[0]!
  const cases: ReadonlyArray<readonly [Program, RegExp]> = [
    [withFn({ eqns: [{ ...first, op: 'no' as Eqn['op'] }] }), /no such op/],
    [withFn({ eqns: f.eqns.toReversed() }), /used before it is defined/],
    [withFn({ eqns: [...f.eqns, first] }), /is bound twice/],
    [withFn({ reads: [{ id: 0, state: 'w.weight' }] }), /%0 is bound twice/],
    [withFn({ reads: [...f.reads, { id: 99, state: 'gone' }] }), /reads unknown state %gone/],
    [withFn({ eqns: [{ ...first, attrs: { ta: 1 } }] }), /do not fit/],
    [withFn({ outs: [...f.outs, ...f.outs] }), /gives loss once/],
    [withFn({ outs: [{ name: 'loss', id: 77 }] }), /%77 is not defined/],
    [withFn({ name: 'a b' }), /"a b": not a name/],
  ]
  for (const [q, reason] of cases) {
    const r = verify(q)
    holds(E.isLeft(r), String(reason))
    assert.match(showReason(r.left), reason)
  }
})

/** Cuts, doubles and swaps stretches of a text, and puts in pieces of the language. */
const mutation = fc.record({
  at: fc.nat(4000),
  length: fc.nat(12),
  kind: fc.nat(3),
  piece: fc.constantFrom(
    '%',
    '{',
    '}',
    '[',
    ']',
    '@',
    ',',
    ':',
    '=',
    '"',
    '\\',
    '\n',
    ' ',
    '-1',
    'NaN',
    'f32[2]',
    '%0',
    'fn @f() {',
    'nf4(',
    'dot',
    'return x = %0',
    'update %b = %b',
    '//',
    '1e999',
    '[,]',
    '__proto__',
  ),
})
const mutate = (
  text: string,
  m: { at: number; length: number; kind: number; piece: string },
): string => {
  const at = m.at % (text.length + 1)
  const [head, cut, tail] = [
    text.slice(0, at),
    text.slice(at, at + m.length),
    text.slice(at + m.length),
  ]
  return m.kind === 0
    ? head + tail
    : m.kind === 1
      ? head + cut + cut + tail
      : m.kind === 2
        ? head + m.piece + cut + tail
        : head + m.piece + tail
}

test('mutated text: a line and a reason, or a verified program; never an exception', () => {
  const texts = fc.oneof(fc.constant(base), program.map(print))
  fc.assert(
    fc.property(texts, fc.array(mutation, { minLength: 1, maxLength: 4 }), (text, ms) => {
      const r = parse(ms.reduce(mutate, text))
      if (E.isRight(r)) {
        holds(E.isRight(verify(r.right)))
        assert.equal(print(parsed(print(r.right))), print(r.right))
      } else {
        holds(showReason(r.left).length > 5)
        if (r.left._tag === 'Syntax') holds(Number.isInteger(r.left.line) && r.left.line > 0)
      }
    }),
    runs(1500),
  )
})
