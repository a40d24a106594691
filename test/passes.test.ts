/** Laws of the passes that change the model: simplify, lora, quantize; and of running passes one after another. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { builder } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { print } from '../ir/print.ts'
import { isEncoded, scalar, size, tensor } from '../ir/type.ts'
import { asked, freeze, ia3, lora, quantize, simplify, type Lora } from '../passes/index.ts'
import { linearWeights, moduleOf } from '../passes/linear.ts'
import { andThen, compile, id, type Pass } from '../passes/pass.ts'
import { linear, program } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import {
  agree,
  close,
  commute,
  idempotent,
  neverGrows,
  preserves,
  run,
  sameBits,
  through,
  worldOf,
  type World,
} from './laws.ts'
import { nf4 } from './nf4-oracle.ts'
import { forward, plainSpec, spec, worldOn } from './programs.ts'

const seeded = fc.nat(9999)

test('simplify: keeps every bit, is idempotent, never grows', () => {
  fc.assert(
    fc.property(program, seeded, (p, seed) => {
      holds(preserves(sameBits, simplify)(p, worldOf(seed)))
      holds(idempotent(simplify)(p))
      holds(neverGrows(simplify)(p))
    }),
    runs(300),
  )
})

/** A function that returns what `make` builds. */
const returning = (make: (b: ReturnType<typeof builder>) => ReadonlyArray<number>): Program => {
  const b = builder()
  const outs = make(b).map((v, i) => ({ name: `y${i}`, id: v }))
  return { name: 'p', state: [], fns: [b.done({ name: 'step', outs, updates: [] })] }
}

test('simplify: constants that print alike in JSON stay apart', () => {
  const values = [0, -0, Infinity, -Infinity, NaN]
  const p = returning((b) => values.map((v) => b.alg.fill(v, scalar('f32'))))
  holds(preserves(sameBits, simplify)(p, worldOf(0)))
  const x = (b: ReturnType<typeof builder>) => b.input('x', tensor('f32', 2))
  const q = returning((b) => values.map((v) => b.alg.scale(v, x(b))))
  holds(preserves(sameBits, simplify)(q, worldOf(0)))
})

test('simplify: narrowing undoes widening, but widening does not undo narrowing', () => {
  const p = returning(({ alg, input }) => {
    const x = input('x', tensor('bf16', 3))
    const y = input('y', tensor('f32', 3))
    return [alg.cast('bf16', alg.cast('f32', x)), alg.cast('f32', alg.cast('bf16', y))]
  })
  assert.equal(through(simplify)(p).fns[0]!.eqns.length, 2)
  holds(preserves(sameBits, simplify)(p, worldOf(3)))
})

test('freeze: keeps every bit, trains nothing, and opens what is not trained to quantization', () => {
  fc.assert(
    fc.property(spec, seeded, (s, seed) => {
      const w = worldOn(seed, [[{ tokens: [1, 2, 3], prompt: 1 }]], 2)
      const p = forward(s, 1)
      holds(preserves(sameBits, freeze)(p, w))
      holds(idempotent(freeze)(p))
      const frozen = through(freeze)(p)
      assert.deepEqual([...new Set(frozen.state.map((x) => x.role))], ['frozen'])
      const narrow = through(freeze, quantize({ block: 4, nested: null }))(p)
      holds(linearWeights(narrow).every((x) => isEncoded(x.type.dtype)))
    }),
    runs(30),
  )
})

test('asked: what is kept is kept as it is, and nothing else', () => {
  const p = forward({ ...plainSpec }, 1)
  const kept = through(asked(['evaluate']))(p)
  assert.deepEqual(
    kept.fns,
    p.fns.filter((f) => f.name === 'evaluate'),
  )
  assert.deepEqual(kept.state, p.state)
})

/** LoRA on one of the linear layers of a program. */
const loraOn = (p: Program, pick: number, r: number): Lora | null => {
  const all = linearWeights(p)
  const w = all[pick % Math.max(1, all.length)]
  return w === undefined ? null : { r, alpha: 3, dropout: 0, targets: [moduleOf(w.name)] }
}
const adapted = fc
  .tuple(linear, fc.nat(7), fc.integer({ min: 1, max: 3 }))
  .map(([p, pick, r]) => ({ p, o: loraOn(p, pick, r) }))
  .filter((x): x is { p: Program; o: Lora } => x.o !== null)

test('lora: invisible at first, bit for bit', () => {
  fc.assert(
    fc.property(adapted, seeded, ({ p, o }, seed) =>
      preserves(sameBits, lora(o))(p, worldOf(seed)),
    ),
    runs(150),
  )
  fc.assert(
    fc.property(spec, seeded, (s, seed) => {
      const o = { r: 2, alpha: 1, dropout: 0, targets: ['q_proj', 'up_proj'] }
      const w = worldOn(seed, [[{ tokens: [1, 2, 3], prompt: 1 }]], 2)
      return preserves(sameBits, lora(o))(forward(s, 1), w)
    }),
    runs(30),
  )
})

test('dora: invisible at first up to rounding, over 4-bit weights too', () => {
  fc.assert(
    fc.property(adapted, layouts, seeded, ({ p, o }, q, seed) => {
      const w = worldOf(seed)
      for (const before of [p, through(quantize(q))(p)]) {
        const after =
          before === p
            ? through(lora({ ...o, dora: true }))(p)
            : through(lora({ ...o, dora: true }), quantize(q))(p)
        holds(
          agree(
            close(1e-6),
            run(before, w, 'step', 'real').outs,
            run(after, w, 'step', 'real').outs,
          ),
        )
      }
    }),
    runs(60),
  )
})

test('ia3: invisible at first, bit for bit, over 4-bit weights too', () => {
  fc.assert(
    fc.property(adapted, layouts, fc.boolean(), seeded, ({ p, o }, q, onInput, seed) => {
      const { targets } = o as { targets: ReadonlyArray<string> }
      const vectors = ia3({ kind: 'ia3', targets, inputs: onInput ? targets : [] })
      holds(preserves(sameBits, vectors)(p, worldOf(seed)))
      const coded = through(quantize(q))(p)
      holds(
        agree(
          sameBits,
          run(coded, worldOf(seed)).outs,
          run(through(vectors, quantize(q))(p), worldOf(seed)).outs,
        ),
      )
    }),
    runs(60),
  )
})

const isAdapter = (s: State): boolean => /\.lora_[AB]\.weight$/.test(s.name)

/** The world in which a weight W is W + alpha/r · B·A of the adapters beside it. */
const merged = (q: Program, o: Lora, w: World): World => ({
  ...w,
  source: (key, count) => {
    const at = (part: 'A' | 'B') =>
      q.state.find((s) => s.name === `${moduleOf(key)}.lora_${part}.weight`)
    const [a, b] = [at('A'), at('B')]
    if (a === undefined || b === undefined) return w.source(key, count)
    const [A, B] = [a, b].map((s) => w.source(s.name, size(s.type))) as [Float64Array, Float64Array]
    const into = a.type.shape[1]!
    return w.source(key, count).map((x, i) => {
      const [row, column] = [Math.floor(i / into), i % into]
      for (let k = 0; k < o.r; k++) x += (o.alpha / o.r) * B[row * o.r + k]! * A[k * into + column]!
      return x
    })
  },
})

test('lora: equals the model with W + alpha/r · B·A for W', () => {
  fc.assert(
    fc.property(adapted, seeded, ({ p, o }, seed) => {
      const made = through(lora(o))(p)
      // Adapters as trained, not as they start.
      const q = {
        ...made,
        state: made.state.map((s): State =>
          isAdapter(s) ? { ...s, recipe: { _tag: 'load', key: s.name } } : s,
        ),
      }
      const w = worldOf(seed)
      const [a, b] = [run(q, w, 'step', 'real'), run(p, merged(q, o, w), 'step', 'real')]
      holds(agree(close(1e-9), b.outs, a.outs))
    }),
    runs(150),
  )
})

test('lora: only adapters train, r·(in + out) numbers for each', () => {
  fc.assert(
    fc.property(spec, fc.integer({ min: 1, max: 3 }), (s, r) => {
      const o = { r, alpha: 3, dropout: 0.1, targets: ['k_proj', 'self_attn.o_proj', 'gate_proj'] }
      const q = through(lora(o))(forward(s, 1))
      holds(q.state.every((x) => (x.role === 'train') === isAdapter(x)))
      const count = q.state.filter(isAdapter).reduce((n, x) => n + size(x.type), 0)
      const [wide, narrow] = [s.heads * s.headDim, s.kvHeads * s.headDim]
      const pairs = [
        [s.hidden, narrow],
        [wide, s.hidden],
        [s.hidden, s.intermediate],
      ] as const
      assert.equal(count, s.layers * pairs.reduce((n, [i, out]) => n + r * (i + out), 0))
    }),
    runs(30),
  )
})

test('lora: dropout is on in training and off in evaluation', () => {
  const p = through(lora({ r: 1, alpha: 1, dropout: 0.5, targets: ['q_proj'] }))(forward(spec0, 1))
  const drops = (name: string) =>
    p.fns.find((f) => f.name === name)!.eqns.filter((e) => e.op === 'dropout').length
  assert.deepEqual([drops('step'), drops('evaluate')], [spec0.layers, 0])
})
const spec0 = fc.sample(spec, { numRuns: 1, seed: 3 })[0]!

test('lora: a target that matches nothing is a reason that names the candidates', () => {
  for (const target of ['query', 'proj', 'q_proj.weight', 'lm_head', 'embed_tokens']) {
    const r = compile([lora({ r: 1, alpha: 1, dropout: 0, targets: ['q_proj', target] })])(
      forward(spec0, 1),
    )
    holds(E.isLeft(r), target)
    assert.deepEqual(r.left.reason._tag === 'NoMatch' && r.left.reason.target, target)
    holds(r.left.reason._tag === 'NoMatch' && r.left.reason.known.includes('down_proj'))
  }
})

const layouts = fc.constantFrom<{ block: number; nested: number | null }>(
  { block: 4, nested: null },
  { block: 3, nested: 2 },
  { block: 64, nested: 256 },
)
const withLinear = linear.filter((p) => linearWeights(p).length > 0)

test('quantize: equals running with weights that have been through NF4, bit for bit', () => {
  fc.assert(
    fc.property(withLinear, layouts, seeded, (p, o, seed) => {
      const q = through(quantize(o))(p)
      const coded = new Set(q.state.filter((s) => isEncoded(s.type.dtype)).map((s) => s.name))
      assert.deepEqual(coded, new Set(linearWeights(p).map((s) => s.name)))
      const w = worldOf(seed)
      const rounded: World = {
        ...w,
        source: (key, count) => {
          const x = w.source(key, count)
          return coded.has(key)
            ? Float64Array.from(nf4(Float32Array.from(x), o.block, o.nested).values)
            : x
        },
      }
      holds(agree(sameBits, run(p, rounded).outs, run(q, w).outs))
    }),
    runs(150),
  )
})

test('quantize: idempotent; only frozen linear weights; nothing to do is a reason', () => {
  fc.assert(
    fc.property(withLinear, layouts, (p, o) => idempotent(quantize(o))(p)),
    runs(60),
  )
  const r = compile([quantize({ block: 64, nested: null })])(forward(spec0, 1))
  holds(E.isLeft(r) && r.left.reason._tag === 'NoMatch')
  const o: Lora = { r: 1, alpha: 1, dropout: 0, targets: ['q_proj'] }
  const q = through(lora(o), quantize({ block: 64, nested: null }))(forward(spec0, 1))
  for (const s of q.state)
    assert.equal(isEncoded(s.type.dtype), s.name.endsWith('_proj.weight'), s.name)
})

test('lora and quantize commute on a frozen model', () => {
  fc.assert(
    fc.property(adapted, layouts, ({ p, o }, q) => commute(lora(o), quantize(q))(p)),
    runs(100),
  )
  const frozen = (p: Program): Program => ({
    ...p,
    state: p.state.map((s): State => ({ ...s, role: 'frozen' })),
  })
  const o: Lora = { r: 2, alpha: 4, dropout: 0.1, targets: ['v_proj', 'gate_proj'] }
  fc.assert(
    fc.property(spec, layouts, (s, q) => commute(lora(o), quantize(q))(frozen(forward(s, 1)))),
    runs(20),
  )
})

test('passes compose: `andThen` is associative, `id` neutral', () => {
  const passes: ReadonlyArray<Pass> = [
    simplify,
    id,
    lora({ r: 1, alpha: 2, dropout: 0, targets: ['q_proj'] }),
    quantize({ block: 8, nested: null }),
  ]
  const text = (...ps: ReadonlyArray<Pass>): string =>
    E.match(
      (e: { readonly reason: unknown }) => JSON.stringify(e.reason),
      (c: { readonly program: Program }) => print(c.program),
    )(compile(ps)(forward(spec0, 1)))
  for (const a of passes)
    for (const b of passes) {
      assert.equal(text(andThen(a, id)), text(a))
      assert.equal(text(andThen(id, a)), text(a))
      assert.equal(text(andThen(a, b)), text(a, b))
      for (const c of passes)
        assert.equal(text(andThen(andThen(a, b), c)), text(andThen(a, andThen(b, c))))
    }
})

test('the runner: a broken promise and an ill-formed result stop the line and name the pass', () => {
  const start = forward(spec0, 1)
  const liar: Pass = { ...id, name: 'liar', promise: () => 'the sky is green' }
  const breaker: Pass = {
    ...id,
    name: 'breaker',
    run: (p) => E.right({ ...p, state: p.state.slice(1) }),
  }
  for (const [pass, tag] of [
    [liar, 'Broken'],
    [breaker, 'IllTyped'],
  ] as const) {
    const r = compile([simplify, pass, simplify])(start)
    holds(E.isLeft(r))
    assert.deepEqual([r.left.pass, r.left.reason._tag], [pass.name, tag])
    assert.equal(print(r.left.program), print(through(simplify)(start)))
  }
  let now = 0
  const r = compile([simplify, id], () => (now += 5))(start)
  holds(E.isRight(r))
  assert.deepEqual(
    r.right.trace.map((s) => [s.pass, s.took]),
    [
      ['forward', 0],
      ['simplify', 5],
      ['id', 5],
    ],
  )
})
