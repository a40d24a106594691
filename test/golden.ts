/** Numbers computed in float64 by transformers, PEFT and torch, against a backend: the suite every backend must pass. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../backends/backend.ts'
import { encode } from '../backends/bytes.ts'
import { materialize } from '../backends/materialize.ts'
import type { Program } from '../ir/graph.ts'
import {
  accumulate,
  differentiate,
  lora,
  optimizer,
  rematerialize,
  schedule,
  simplify,
  type Policy,
} from '../passes/index.ts'
import { compile, type Pass } from '../passes/pass.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { right } from './right.ts'
import { tensorsOf, type Stored } from './stored.ts'

export interface Golden {
  readonly name: string
  readonly settings: {
    readonly adamw: {
      readonly lr: number
      readonly weight_decay: number
      readonly eps: number
      readonly betas: readonly [number, number]
      readonly clip_grad_norm: number
    }
    readonly targets: ReadonlyArray<string>
    readonly r: number
    readonly alpha: number
    readonly lengths: ReadonlyArray<number>
  }
  readonly base: Stored
  readonly adapter: Stored
  readonly numbers: Stored
}

const [rows, length] = [3, 24]

export const load = (name: string): Golden => {
  const at = path.join(import.meta.dirname, 'fixtures', 'golden', name)
  return {
    name,
    settings: JSON.parse(
      fs.readFileSync(path.join(at, 'golden.json'), 'utf8'),
    ) as Golden['settings'],
    base: tensorsOf(path.join(at, 'base', 'model.safetensors')),
    adapter: tensorsOf(path.join(at, 'adapter', 'adapter_model.safetensors')),
    numbers: tensorsOf(path.join(at, 'golden.safetensors')),
  }
}

const forward = (g: Golden): Program => {
  const config = path.join(import.meta.dirname, 'fixtures', 'golden', g.name, 'base', 'config.json')
  const spec = right(readSpec(JSON.parse(fs.readFileSync(config, 'utf8'))))
  return right(
    model(g.name, spec, {
      rows,
      length,
      generate: { batch: rows, prompt: length, capacity: length },
    }),
  )
}

const adapters = (g: Golden): Pass =>
  lora({ r: g.settings.r, alpha: g.settings.alpha, dropout: 0, targets: g.settings.targets })

const update = (g: Golden): Pass => {
  const a = g.settings.adamw
  return optimizer({
    beta1: a.betas[0],
    beta2: a.betas[1],
    eps: a.eps,
    decay: a.weight_decay,
    decoupled: true,
    clip: a.clip_grad_norm,
  })
}

const trained = (g: Golden, first: ReadonlyArray<Pass>, policy: Policy): Program =>
  right(
    compile([
      ...first,
      differentiate,
      update(g),
      simplify,
      accumulate,
      rematerialize(policy),
      schedule,
    ])(forward(g)),
  ).program

/** A session whose state is the golden base, and the golden adapter where there is one. */
export const open = async (
  backend: Backend,
  g: Golden,
  p: Program,
  adapter: (key: string) => ArrayLike<number> | undefined = (key) => g.adapter.get(key),
): Promise<Session> => {
  const session = right(await backend.prepare(p)())
  for (const s of p.state) {
    const stored = adapter(`base_model.model.${s.name}`)
    const bytes =
      stored !== undefined
        ? encode(s.type, stored)
        : right(
            await materialize(
              s,
              (key) => {
                const x = g.base.get(key)
                return x === undefined ? TE.left(`no ${key}`) : TE.right(Float32Array.from(x))
              },
              1,
            )(),
          )
    right(await session.write(s.name, bytes)())
  }
  return session
}

/** The golden batch: right-padded rows; padding is a segment of its own, targets are the labels shifted left. */
export const batch = (g: Golden) => {
  const labels = g.numbers.get('labels')!
  const mask = g.numbers.get('attention_mask')!
  const scored = Int32Array.from(labels, (_, i) => ((i + 1) % length === 0 ? -100 : labels[i + 1]!))
  return {
    tokens: Int32Array.from(g.numbers.get('input_ids')!),
    positions: Int32Array.from(labels, (_, i) => i % length),
    segments: Int32Array.from(mask),
    targets: scored,
    inverse_count: Float32Array.of(1 / scored.filter((t) => t !== -100).length),
  }
}

/** ‖a − b‖ / ‖b‖. */
export const relativeError = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  assert.equal(a.length, b.length)
  let [gap, norm] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    gap += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return Math.sqrt(gap / Math.max(norm, 1e-30))
}

const close = (what: string, a: ArrayLike<number>, b: ArrayLike<number>, bound = 1e-4): void =>
  assert.ok(relativeError(a, b) < bound, `${what}: relative error ${relativeError(a, b)}`)

const f32 = async (session: Session, name: string): Promise<Float32Array> => {
  const bytes = right(await session.read(name)())
  return new Float32Array(bytes.slice().buffer)
}

/** At every `stride`-th position, the last one among them. */
const checkLogits = async (
  session: Session,
  g: Golden,
  expected: string,
  stride: number,
): Promise<void> => {
  const { tokens, positions, segments } = batch(g)
  const golden = g.numbers.get(expected)!
  const vocab = golden.length / (rows * length)
  for (let t = (length - 1) % stride; t < length; t += stride) {
    const last = Int32Array.from({ length: rows }, (_, r) => r * length + t)
    const { logits } = right(await session.run('prefill', { tokens, positions, segments, last })())
    for (let r = 0; r < rows; r++)
      if (segments[r * length + t] === 1)
        close(
          `${expected}[${r}, ${t}]`,
          logits!.subarray(r * vocab, (r + 1) * vocab),
          golden.subarray((r * length + t) * vocab, (r * length + t + 1) * vocab),
        )
  }
}

const checkGradients = async (
  session: Session,
  g: Golden,
  prefix: string,
  nameOf: (state: string) => string,
  p: Program,
) => {
  const names = p.state.filter((s) => s.role === 'gradient').map((s) => s.name)
  const all = [...g.numbers.keys()].filter((k) => k.startsWith(prefix))
  assert.equal(names.length, all.length, 'every golden gradient is checked')
  for (const name of names)
    close(
      name,
      await f32(session, name),
      g.numbers.get(prefix + nameOf(name.slice('grad.'.length)))!,
    )
}

const greedy = async (session: Session, g: Golden): Promise<ReadonlyArray<number>> => {
  const golden = g.numbers.get('gen.ids')!
  const ids = Array.from(golden.subarray(0, 6))
  const grid = (row: ReadonlyArray<number>) =>
    Int32Array.from({ length: rows * row.length }, (_, i) => row[i % row.length]!)
  const padded = Array.from({ length }, (_, i) => ids[i] ?? 0)
  let { logits } = right(
    await session.run('prefill', {
      tokens: grid(padded),
      positions: grid(padded.map((_, i) => i)),
      segments: grid(padded.map((_, i) => (i < 6 ? 1 : 0))),
      last: Int32Array.from({ length: rows }, (_, r) => r * length + 5),
    })(),
  )
  while (ids.length < golden.length) {
    const row = Float32Array.from(logits!.subarray(0, logits!.length / rows))
    ids.push(row.reduce((best, x, i) => (x > row[best]! ? i : best), 0))
    const at = { tokens: grid([ids.at(-1)!]), positions: grid([ids.length - 1]) }
    logits = right(await session.run('decode', at)())['logits']
  }
  return ids
}

/** `stride`: logits are looked at where each position is a run of its own, and costs. */
export const goldenSuite = (backend: Backend, stride = 1): void => {
  for (const name of ['llama2-tiny', 'llama3-tiny']) {
    const g = load(name)
    test(`${backend.name} ${name}: base logits, loss and every gradient`, async () => {
      const p = trained(g, [], { _tag: 'none' })
      const session = await open(backend, g, p)
      await checkLogits(session, g, 'base.logits', stride)
      const { loss } = right(await session.run('micro', batch(g))())
      close('base.loss', loss!, g.numbers.get('base.loss')!)
      await checkGradients(session, g, 'full_grad.', (s) => s, p)
      right(await session.close()())
    })
    for (const policy of ['none', 'layers'] as const)
      test(`${backend.name} ${name}: adapter logits, gradients and 12 steps, recompute ${policy}`, async () => {
        const p = trained(g, [adapters(g)], { _tag: policy })
        const session = await open(backend, g, p)
        await checkLogits(session, g, 'lora.logits', stride)
        const lrs = g.numbers.get('train.lrs')!
        for (const [i, lr] of lrs.entries()) {
          const { loss } = right(await session.run('micro', batch(g))())
          close(`loss of step ${i}`, loss!, [g.numbers.get('train.losses')![i]!])
          if (i === 0)
            await checkGradients(session, g, 'lora_grad.', (s) => `base_model.model.${s}`, p)
          const { grad_norm } = right(
            await session.run('update', {
              lr: Float32Array.of(lr),
              step: Float32Array.of(i + 1),
            })(),
          )
          close(`norm of step ${i}`, grad_norm!, [g.numbers.get('train.grad_norms')![i]!])
        }
        for (const s of p.state.filter((x) => x.role === 'train'))
          close(
            s.name,
            await f32(session, s.name),
            g.numbers.get(`train.final.base_model.model.${s.name}`)!,
          )
        right(await session.close()())
      })
    test(`${backend.name} ${name}: greedy generation with the trained adapter`, async () => {
      const p = trained(g, [adapters(g)], { _tag: 'none' })
      const session = await open(backend, g, p, (key) => g.numbers.get(`train.final.${key}`))
      assert.deepEqual(await greedy(session, g), Array.from(g.numbers.get('gen.ids')!))
      right(await session.close()())
    })
  }
}
