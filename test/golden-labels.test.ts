/** Heads over the golden models: logits, losses and gradients against torch's own losses over transformers' models, in f64. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Backend, Session } from '../backends/backend.ts'
import { decode, encode } from '../backends/bytes.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { accumulate, differentiate, optimizer, schedule, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import type { Sample } from '../src/data/samples.ts'
import type { Target } from '../src/data/targets.ts'
import { classifier, type Head, type Labels } from '../src/models/labels.ts'
import { readSpec } from '../src/models/spec.ts'
import { labelTask, logitsOf, type LabelJob } from '../src/train/label-task.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { load, open, relativeError, type Golden } from './golden.ts'
import { right } from './right.ts'
import { tensorsOf, type Stored } from './stored.ts'

const shapes = { rows: 3, length: 24, generate: null }
const folder = (name: string): string => path.join(import.meta.dirname, 'fixtures', 'golden', name)

const samplesOf = (g: Golden): ReadonlyArray<Sample> => {
  const [ids, labels] = [g.numbers.get('input_ids')!, [0, 2, 1]]
  return g.settings.lengths.map((n, row) => ({
    row,
    prompt: Array.from(ids.subarray(24 * row, 24 * row + n)),
    target: [],
    labels: [labels[row]!, [1, 0, 1][row]!, [0.5, -2, 3.25][row]!],
  }))
}

const trained = (g: Golden, labels: Labels): Program => {
  const config = fs.readFileSync(path.join(folder(g.name), 'base', 'config.json'), 'utf8')
  const spec = right(readSpec(JSON.parse(config)))
  const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: false, clip: null }
  const passes = [differentiate, optimizer(adam), simplify, accumulate, schedule]
  return right(compile(passes)(right(classifier(g.name, spec, shapes, labels)))).program
}

const common = { name: '', column: '' }
const sort: Target = {
  kind: 'category',
  classes: ['a', 'b', 'c'],
  of: {
    ...common,
    type: 'category',
    top_k: 3,
    preprocessing: { fallback_label: '', vocab: [] },
    decoder: { type: 'classifier', use_bias: true, match: null, fallback_label: null },
    loss: {
      type: 'softmax_cross_entropy',
      weight: 1,
      class_weights: { a: 1, b: 2, c: 0.5 },
      label_smoothing: 0.1,
    },
  },
}
const even: Target = {
  kind: 'binary',
  classes: ['no', 'yes'],
  of: {
    ...common,
    type: 'binary',
    threshold: 0.5,
    preprocessing: { fallback_true_label: null },
    decoder: { type: 'regressor', use_bias: true },
    loss: {
      type: 'binary_weighted_cross_entropy',
      weight: 0.5,
      positive_class_weight: 3,
      label_smoothing: 0.2,
    },
  },
}
const size: Target = {
  kind: 'number',
  shift: 1,
  scale: 2,
  of: {
    ...common,
    type: 'number',
    preprocessing: { normalization: null },
    decoder: { type: 'regressor', use_bias: false },
    loss: { type: 'mean_squared_error', weight: 2 },
  },
}
const plain: Target = {
  ...sort,
  of: { ...sort.of, loss: { ...sort.of.loss, class_weights: null, label_smoothing: 0 } },
} as Target

const head = (key: string, kind: Head['kind'], logits: number, bias: boolean): Head => ({
  name: key,
  key,
  kind,
  logits,
  bias,
})

const jobs: Readonly<Record<'last' | 'mean', Pick<LabelJob, 'labels' | 'targets'>>> = {
  last: {
    labels: {
      heads: [head('sort', 'category', 3, false)],
      pool: 'last',
      shortest: 9,
      cached: false,
    },
    targets: [plain],
  },
  mean: {
    labels: {
      heads: [
        head('sort', 'category', 3, true),
        head('even', 'binary', 1, true),
        head('size', 'number', 1, false),
      ],
      pool: 'mean',
      shortest: 9,
      cached: false,
    },
    targets: [sort, even, size],
  },
}

const fill = async (s: Session, p: Program, kind: 'last' | 'mean', n: Stored) => {
  for (const { name, type } of p.state.filter((x) => x.name.startsWith('heads.'))) {
    const key = kind === 'last' ? 'last.head' : `mean.head.${name.slice('heads.'.length)}`
    right(await s.write(name, encode(type, n.get(key)!))())
  }
}

const close = (what: string, a: ArrayLike<number>, b: ArrayLike<number>): void => {
  const error = relativeError(a, b)
  assert.ok(error < 2e-5, `${what}: off by ${error}`)
}

const check = async (backend: Backend, name: string, kind: 'last' | 'mean'): Promise<void> => {
  const g = load(name)
  const n = tensorsOf(path.join(folder(name), 'labels.safetensors'))
  const job: LabelJob = { ...jobs[kind], shapes }
  const p = trained(g, job.labels)
  const session = await open(backend, g, p, () => undefined)
  await fill(session, p, kind, n)
  const samples = samplesOf(g)
  const logits = right(await logitsOf(job, session, samples)())
  job.labels.heads.forEach(({ key }, h) =>
    close(
      `logits of ${key}`,
      logits[h]!.flat(),
      n.get(kind === 'last' ? 'last.logits' : `mean.logits.${key}`)!,
    ),
  )
  const measured = right(await labelTask(job).measure(session, samples)())
  const loss = n.get(`${kind}.loss`)![0]!
  assert.ok('metrics' in measured && Math.abs(measured.metrics.loss / loss - 1) < 2e-5)
  const fed = right(await labelTask(job).feed(samples)())
  assert.equal(
    fed.tokens,
    g.settings.lengths.reduce((a, b) => a + b),
  )
  let sum = 0
  for (const { inputs } of fed.micros)
    sum += right(await session.run('micro', inputs)())['loss']![0]!
  assert.ok(Math.abs(sum / loss - 1) < 2e-5, `loss ${sum} for ${loss}`)
  let compared = 0
  for (const s of p.state.filter((x) => x.role === 'gradient')) {
    const of = s.name.slice('grad.'.length)
    const key = s.name.startsWith('grad.heads.')
      ? kind === 'last'
        ? 'last.grad.head'
        : `mean.grad.head.${s.name.slice('grad.heads.'.length)}`
      : `${kind}.grad.${of}`
    const want = n.get(key)
    if (want === undefined) continue
    compared += 1
    close(s.name, decode(s.type, right(await session.read(s.name)())), want)
  }
  assert.equal(compared, [...n.keys()].filter((k) => k.startsWith(`${kind}.grad.`)).length)
  right(await session.close()())
}

for (const [backend, name, kind] of [
  [reference, 'llama2-tiny', 'last'],
  [reference, 'llama3-tiny', 'mean'],
  [onnx, 'llama3-tiny', 'last'],
  [onnx, 'llama2-tiny', 'mean'],
] as const)
  test(`heads over ${name} on ${backend.name}, pooled by ${kind}: torch's numbers`, () =>
    check(backend, name, kind))

test('heads over llama2-tiny by launches of a GPU, emulated', { skip: noCompiler }, () =>
  check(emulated(cardOf('sm_75')!.target), 'llama2-tiny', 'mean'),
)
