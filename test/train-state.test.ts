/** The state a run starts from, and every way in which a base's files can disagree with its config.json. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import type * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Loader, Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import type { Issue } from '../src/issue.ts'
import { knownModels } from '../src/models/known.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { right } from './right.ts'
import {
  baseTensors,
  left,
  planFor,
  quiet,
  withBase,
  writeBase,
  yaml,
  type Tensor,
} from './train-job.ts'

const loaded = async (
  tensors: ReadonlyArray<Tensor>,
  config: Readonly<Record<string, unknown>> = {},
): Promise<E.Either<Issue, string>> =>
  withBase(async (folder) => {
    await fs.rm(path.join(folder, 'base'), { recursive: true })
    await writeBase(path.join(folder, 'base'), tensors, config)
    const plan = planFor(folder, yaml())
    const session = right(await reference.prepare(plan.program)())
    return initializePlan(plan, session)()
  })

const q = 'model.layers.1.self_attn.q_proj.weight'
const withName = (from: string, to: (t: Tensor) => Tensor): ReadonlyArray<Tensor> =>
  baseTensors().map((t) => (t.name === from ? to(t) : t))

test('every tensor is loaded in f32, adapters begin at PEFT’s values, and the seed decides A', async () => {
  await withBase(async (folder) => {
    const hashes: string[] = []
    const matrices: string[] = []
    for (const seed of [42, 42, 43]) {
      const plan = planFor(folder, yaml('', `random_seed: ${seed}`))
      const session = right(await reference.prepare(plan.program)())
      hashes.push(right(await initializePlan(plan, session)()))
      for (const s of plan.program.state) {
        const bytes = right(await session.read(s.name)())
        const values = new Float32Array(bytes.slice().buffer)
        const base = baseTensors().find((t) => t.name === s.name)
        if (base !== undefined) {
          // bf16 is the upper half of f32.
          const halves = new Uint16Array(base.data.slice().buffer)
          const wide = Uint32Array.from(halves, (h) => h << 16)
          assert.deepEqual(values, new Float32Array(wide.buffer), s.name)
        } else if (s.role === 'train' && s.name.endsWith('lora_A.weight')) {
          matrices.push(values.join())
          assert.ok(
            values.every((v) => v !== 0 && Math.abs(v) <= 1 / Math.sqrt(16)),
            s.name,
          )
        } else if (s.role !== 'scaler')
          assert.ok(
            values.every((v) => v === 0),
            s.name,
          )
      }
    }
    // The base's values are the same; what the seed draws is not.
    assert.equal(new Set(hashes).size, 1)
    assert.equal(new Set(matrices).size, (matrices.length / 3) * 2)
  })
})

test('tensors that are missing, misshapen, of no float or of another model are named', async () => {
  const cases: ReadonlyArray<readonly [ReadonlyArray<Tensor>, RegExp, RegExp, object?]> = [
    [
      withName(q, (t) => ({ ...t, name: q.replace('q_proj', 'q_porj') })),
      /holds model\.layers\.1\.self_attn\.q_porj\.weight, for which/,
      /different models/,
    ],
    [
      baseTensors().filter((t) => t.name !== q),
      /has no tensor model\.layers\.1\.self_attn\.q_proj\.weight/,
      /nearest is model\.layers\.[01]\.self_attn\.[qkvo]_proj\.weight/,
    ],
    [
      withName(q, (t) => ({ ...t, shape: [8, 32] })),
      /q_proj\.weight has the shape \[8, 32\]/,
      /\[16, 16\], as the model's config\.json says/,
    ],
    [
      baseTensors().map((t) => ({ ...t, name: t.name.replace(/^model\./, '') })),
      /has no tensor model\.embed_tokens\.weight/,
      /lack the prefix `model\.`/,
    ],
    [
      baseTensors(),
      /has no tensor lm_head\.weight/,
      /tie_word_embeddings/,
      { tie_word_embeddings: false },
    ],
    [
      [
        ...withName(q, (t) => ({ ...t, shape: [128, 1], dtype: 'F32', data: new Uint8Array(512) })),
        { name: `${q}.absmax`, dtype: 'F32', shape: [4], data: new Uint8Array(16) },
      ],
      /quantized already/,
      /original 16-bit model/,
    ],
    [
      withName(q, (t) => ({ ...t, dtype: 'I16' as 'F16' })),
      /dtype I16 cannot be read as 32-bit floats/,
      /F32, F16, BF16/,
    ],
  ]
  for (const [tensors, message, more, config] of cases) {
    const found = left(await loaded(tensors, config === undefined ? {} : { ...config }))
    assert.match(found.message, message)
    assert.match(`${found.expected} ${found.hint}`, more)
    assert.ok(found.file?.includes('base'), JSON.stringify(found))
  }
})

test('a tied model may hold its embedding twice and old RoPE buffers; a head of its own counts', async () => {
  const extra = (name: string, shape: ReadonlyArray<number>): Tensor => {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1)
    return { name, dtype: 'F32', shape, data: new Uint8Array(bytes) }
  }
  const plain = right(await loaded(baseTensors()))
  const more = right(
    await loaded([
      ...baseTensors(),
      { ...baseTensors()[0]!, name: 'lm_head.weight' },
      extra('model.layers.0.self_attn.rotary_emb.inv_freq', [4]),
    ]),
  )
  assert.equal(more, plain)
  const own = right(await loaded([...baseTensors(), extra('lm_head.weight', [24, 16])]))
  assert.notEqual(own, plain)
})

test('where only the architecture is known there is nothing to train', async () => {
  await withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const name = Object.keys(knownModels)[0]!
    const bare = { ...plan, base: { ...plan.base, name, folder: null } }
    const [first] = left(await train(bare, reference, quiet(folder).options)())
    assert.match(first.message, new RegExp(`^only the architecture of ${name} is known here`))
    const [none] = left(await train({ ...plan, data: null }, reference, quiet(folder).options)())
    assert.match(none.message, /nothing to train on/)
  })
})

/** A session whose backend reads checkpoints itself, but not every tensor. */
const reading = (session: Session, takes: (name: string) => boolean, closed: Array<string>) => {
  const state = new Map<string, Uint8Array>()
  const loader: Loader = {
    load: (name, stored) => {
      const bytes = new Uint8Array(stored.length)
      return pipe(
        stored.read(bytes.subarray(0, 2), 0),
        TE.chain(() => stored.read(bytes.subarray(2), 2)),
        TE.map(() => {
          if (takes(name)) state.set(name, bytes)
          return takes(name)
        }),
      )
    },
    fill: () => TE.right(false),
    close: () => {
      closed.push('closed')
      return TE.right(undefined)
    },
  }
  return { state, session: { ...session, loader: () => TE.right(loader) } }
}

test('a backend that reads checkpoints itself gets their bytes; the rest and the checksum are as ever', async () => {
  await withBase(async (folder) => {
    // A table of more than 4 MiB, whose checksum a thread takes.
    const wide = baseTensors().map((t) =>
      t.name === 'model.embed_tokens.weight'
        ? { ...t, shape: [140_000, 16], data: new Uint8Array(140_000 * 32).map((_, i) => i & 0x3f) }
        : t,
    )
    const anew = async (tensors: ReadonlyArray<Tensor>): Promise<void> => {
      await fs.rm(path.join(folder, 'base'), { recursive: true })
      await writeBase(path.join(folder, 'base'), tensors, { vocab_size: 140_000 })
    }
    await anew(wide)
    const plan = planFor(folder, yaml())
    const plain = right(await reference.prepare(plan.program)())
    const sum = right(await initializePlan(plan, plain)())
    const closed: Array<string> = []
    const takes = (name: string): boolean => !name.includes('down_proj')
    const own = right(await reference.prepare(plan.program)())
    const { state, session } = reading(own, takes, closed)
    assert.equal(right(await initializePlan(plan, session)()), sum)
    for (const t of wide) {
      if (takes(t.name)) assert.ok(Buffer.from(t.data).equals(state.get(t.name)!), t.name)
      else
        assert.deepEqual(
          right(await session.read(t.name)()),
          right(await plain.read(t.name)()),
          t.name,
        )
    }
    assert.equal(state.size, wide.length - 2)
    assert.deepEqual(closed, ['closed'])
    // Values that are not finite are the backend's to find, and the host's to name.
    const broken = wide.map((t) =>
      t.name === q ? { ...t, data: t.data.with(7, 0x7f).with(6, 0x80) } : t,
    )
    await anew(broken)
    const again = reading(own, (name) => name !== q, closed)
    const i = left(await initializePlan(plan, again.session)())
    assert.match(i.message, /q_proj\.weight holds Infinity at \[0, 3\]/)
    assert.deepEqual(closed, ['closed', 'closed'])
  })
})

test('on emulated CUDA every state is what the host makes', { skip: noCompiler }, async () => {
  await withBase(async (folder) => {
    for (const rest of ['quantization: { bits: 4 }', 'compiler: { compute_dtype: bfloat16 }']) {
      const plan = planFor(folder, yaml('', rest))
      const backend = emulated({ arch: 90, sms: 132, shared: 232448 })
      const [device, host] = [
        right(await backend.prepare(plan.program)()),
        right(await backend.prepare(plan.program)()),
      ]
      const { loader: _, ...without } = host
      const sums = [
        right(await initializePlan(plan, device)()),
        right(await initializePlan(plan, without)()),
      ]
      assert.equal(sums[0], sums[1])
      for (const s of plan.program.state)
        assert.deepEqual(
          right(await device.read(s.name)()),
          right(await host.read(s.name)()),
          s.name,
        )
    }
  })
})
