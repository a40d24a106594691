/** The library face: what the documentation promises of `dsl`, run as written there. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { dsl, type Pass } from '../src/index.ts'
import { child, inFolder, smallJob } from './cli-child.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'

test('a YAML file and an object with its keys give the same plan', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const fromFile = right(dsl.compile(file))
    const fromObject = right(
      dsl.compile(
        {
          model_type: 'llm',
          base_model: 'base',
          quantization: { bits: 4 },
          adapter: { type: 'lora', dropout: 0 },
          input_features: [{ name: 'instruction', type: 'text' }],
          output_features: [{ name: 'output', type: 'text' }],
          trainer: { type: 'finetune', epochs: 1, learning_rate: 0.001 },
          generation: { max_new_tokens: 8 },
          compiler: { dataset: 'data.csv' },
        },
        { folder },
      ),
    )
    assert.equal(dsl.print(fromObject.program), dsl.print(fromFile.program))
    assert.deepEqual(fromObject.config, fromFile.config)
    assert.equal(
      dsl.print(right(dsl.parse(dsl.print(fromFile.program)))),
      dsl.print(fromFile.program),
    )
  }))

test('what is wrong with a config is a value that explains itself', () => {
  const wrong = dsl.compile({ model_type: 'llm', adapter: { type: 'lora', rank: 8 } })
  holds(E.isLeft(wrong))
  holds(wrong.left.length >= 3)
  assert.match(dsl.explain(wrong.left), /unknown key `rank`[^]*did you mean `r`/)
  const gone = dsl.compile('nowhere.yaml')
  holds(E.isLeft(gone))
  assert.match(gone.left[0].message, /no such file/)
})

test('a model with only an architecture compiles and does not train', async () => {
  const plan = right(
    dsl.compile({
      model_type: 'llm',
      base_model: 'Qwen/Qwen2.5-0.5B',
      adapter: { type: 'lora' },
      input_features: [{ name: 'q', type: 'text' }],
      output_features: [{ name: 'a', type: 'text' }],
      trainer: { type: 'finetune' },
      preprocessing: { global_max_sequence_length: 128 },
    }),
  )
  const trained = await dsl.train(plan, { backend: 'reference' })()
  holds(E.isLeft(trained))
  assert.match(
    dsl.explain(trained.left),
    /only the architecture of Qwen\/Qwen2\.5-0\.5B is known here, and training needs weights/,
  )
})

const mlp = dsl.fn(
  'mlp',
  (b) => {
    const x = b.input('x', dsl.tensor('f32', 1, 2))
    const y = b.alg.dot({ tb: true }, x, b.weight('w', dsl.tensor('f32', 3, 2)))
    return { y, loss: b.alg.sum(b.alg.mul(y, y)) }
  },
  { minimizes: 'loss' },
)

test('a function of tensors is a program: it runs, differentiates and prints', () => {
  const p = right(mlp)
  const values = { x: [1, 2], w: [1, 0, 0, 1, 1, 1] }
  assert.deepEqual(right(dsl.evaluate(p, 'mlp', values)), { y: [1, 2, 3], loss: [14] })
  const g = right(dsl.run(dsl.passes.differentiate)(p))
  // d(Σy²)/dw = 2 y xᵀ
  assert.deepEqual(right(dsl.evaluate(g, 'mlp', values))['grad.w'], [2, 4, 4, 8, 6, 12])
  assert.match(dsl.print(g), /return grad\.w = /)
})

test('values that are missing or of another size are named', () => {
  const p = right(mlp)
  const left = (e: E.Either<{ readonly message: string }, unknown>): string =>
    E.isLeft(e) ? e.left.message : 'it runs'
  assert.match(left(dsl.evaluate(p, 'mlp', { x: [1, 2] })), /^w is not given/)
  assert.match(left(dsl.evaluate(p, 'mlp', { x: [1], w: [1, 2, 3, 4, 5, 6] })), /^x has 1 values/)
  assert.match(left(dsl.evaluate(p, 'mpl', {})), /no function mpl/)
})

test('an ill-typed function says which equation', () => {
  const wrong = dsl.fn('f', (b) => ({
    y: b.alg.add(b.input('a', dsl.tensor('f32', 2, 3)), b.input('b', dsl.tensor('f32', 3, 2))),
  }))
  holds(E.isLeft(wrong) && wrong.left._tag === 'IllTyped')
  assert.match(wrong.left.at, /add\(f32\[2, 3\], f32\[3, 2\]\)/)
})

const forward = pipe(
  dsl.base('Qwen/Qwen2.5-0.5B'),
  E.chainW(({ spec }) =>
    dsl.model('m', { ...spec, layers: 2 }, { rows: 1, length: 16, generate: null }),
  ),
)

test('passes compose with pipe, and are verified on the way', () => {
  const { run, passes } = dsl
  const adapter = { r: 4, alpha: 8, dropout: 0, targets: ['q_proj'] }
  const program = pipe(
    right(forward),
    run(passes.lora(adapter)),
    E.chain(run(passes.quantize({ block: 64, nested: null }))),
    E.chain(run(passes.simplify)),
  )
  const stepwise = right(
    dsl.compose(
      passes.lora(adapter),
      passes.quantize({ block: 64, nested: null }),
      passes.simplify,
    )(right(forward)),
  )
  assert.equal(dsl.print(right(program)), dsl.print(stepwise.program))
  assert.equal(stepwise.trace.length, 4)
})

test("a pass of one's own is held to its promise, and its refusal shows the equations", () => {
  const idle: Pass = {
    name: 'idle',
    keeps: 'exact',
    run: E.right,
    promise: () => 'something happened',
  }
  const broken = dsl.run(idle)(right(forward))
  holds(E.isLeft(broken))
  assert.match(
    dsl.explain(broken.left),
    /the pass idle refuses: broken promise: something happened/,
  )
  const clumsy: Pass = {
    name: 'clumsy',
    keeps: 'exact',
    run: (p) =>
      dsl.passes.rewrite(p, p.state, ({ eqn, args, b }) =>
        eqn.op === 'swiglu' ? [b.alg.dot({}, args[0]!, args[1]!)] : null,
      ),
  }
  const refused = dsl.run(clumsy)(right(forward))
  holds(E.isLeft(refused))
  const text = dsl.explain(refused.left).split('\n')
  assert.match(
    text[0]!,
    /the pass clumsy refuses: dot\(f32\[16, 4864\], f32\[16, 4864\]\) in layers\.0/,
  )
  // The pass was at work in the first layer's mlp: its equations are marked, three lines on either side are not.
  const marked = text.filter((l) => l.startsWith('>'))
  holds(marked.some((l) => l.includes('= swiglu ')))
  assert.equal(text.length, 1 + 3 + marked.length + 3)
})

test('what the verifier or the parser refuses is shown with three lines on either side', () => {
  const p = right(forward)
  const [step, ...others] = p.fns
  const at = 12
  const spoilt = step!.eqns.map((e, i) => (i === at ? { ...e, types: [dsl.tensor('f32', 1)] } : e))
  const spoil: Pass = {
    name: 'spoil',
    keeps: 'exact',
    run: () => E.right({ ...p, fns: [{ ...step!, eqns: spoilt }, ...others] }),
  }
  const refused = dsl.run(spoil)(p)
  holds(E.isLeft(refused))
  const window = dsl.explain(refused.left).split('\n').slice(1)
  assert.equal(window.length, 7)
  assert.match(window[3]!, new RegExp(`^> .*= ${step!.eqns[at]!.op} `))
  const text = dsl.print(p).replace('= swiglu ', '= swigloo ')
  const unread = dsl.parse(text)
  holds(E.isLeft(unread))
  const lines = dsl.explainText(unread.left, text).split('\n')
  assert.equal(lines.length, 8)
  assert.match(lines[4]!, /^> .*= swigloo /)
})

test('examples run as their first line says', async () => {
  for (const [file, shows] of [
    ['custom-pass', /^\+.*scale %0 \{by=64\}[^]*^-.*rmsNorm %0,[^]*^\+.*rmsNorm %1,/m],
    ['compose', /^rematerialize +3\.89 GB +0\.\d+ GB +\d\.\d+ GB$/m],
  ] as const) {
    const name = `examples/${file}.ts`
    const text = await fs.readFile(path.join(import.meta.dirname, '..', name), 'utf8')
    assert.equal(text.split('\n')[0], `// npx tsx ${name}`)
    const { code, out, err } = await child([name])
    assert.equal(code, 0, err)
    assert.match(out, shows)
  }
  const custom = await fs.readFile(
    path.join(import.meta.dirname, '../examples/custom-pass.ts'),
    'utf8',
  )
  holds(custom.split('\n').length < 40)
})
