/** Adapters on disk: what PEFT wrote is read, what is written is PEFT's, merging is exact, and misfits are named. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { pipe } from 'fp-ts/lib/function.js'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import { lora, schedule, type Lora } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { asTheBase } from '../src/adapter/carried.ts'
import { mergeAdapter } from '../src/adapter/merge.ts'
import { exportAdapter } from '../src/adapter/export.ts'
import { importAdapter } from '../src/adapter/import.ts'
import { findBase } from '../src/models/base.ts'
import { model } from '../src/models/llama.ts'
import { writeFile, writeFolder } from '../src/tensors/writer.ts'
import { train } from '../src/train/train.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { startOf } from '../src/train/start.ts'
import { relativeError, load } from './golden.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'
import { baseTensors, left, planFor, quiet, withBase, writeBase, yaml } from './train-job.ts'

const goldenAt = (name: string, part: string): string =>
  path.join(import.meta.dirname, 'fixtures', 'golden', name, part)

const temporary = async <T>(body: (folder: string) => Promise<T>): Promise<T> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-adapter-'))
  try {
    return await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

/** A session of a golden model with adapters that have not been filled. */
const goldenSession = async (name: string) => {
  const { settings } = load(name)
  const base = right(findBase('base', goldenAt(name, '')))
  const o: Lora = { r: settings.r, alpha: settings.alpha, dropout: 0, targets: settings.targets }
  const forward = right(model(name, base.spec, { rows: 1, length: 8, generate: null }))
  const { program } = right(compile([lora(o), schedule])(forward))
  const session = right(await reference.prepare(program)())
  return { session, program, lora: o }
}

const json = async (file: string): Promise<Record<string, unknown>> =>
  JSON.parse(await fs.readFile(file, 'utf8')) as Record<string, unknown>

for (const name of ['llama2-tiny', 'llama3-tiny'])
  test(`${name}: PEFT's own adapter is read, and written again as PEFT wrote it`, async () => {
    await temporary(async (folder) => {
      const g = await goldenSession(name)
      right(await importAdapter(g.session, g.program, g.lora, goldenAt(name, 'adapter'))())
      const out = path.join(folder, 'adapter')
      const baseFolder = path.relative('.', goldenAt(name, 'base'))
      // Any start but zeros would do: what is exported is PEFT's.
      const start = () => TE.right(new Uint8Array())
      const card = { baseModel: 'some/base', baseFolder, carried: asTheBase, start }
      right(await exportAdapter({ ...g, ...card }, out)())
      const theirs = tensorsOf(goldenAt(name, 'adapter/adapter_model.safetensors'))
      assert.deepEqual(tensorsOf(path.join(out, 'adapter_model.safetensors')), theirs)
      const written = await json(path.join(out, 'adapter_config.json'))
      const peft = await json(goldenAt(name, 'adapter/adapter_config.json'))
      for (const [key, value] of Object.entries(written))
        if (key === 'base_model_name_or_path') assert.equal(value, goldenAt(name, 'base'))
        else if (key === 'target_modules')
          assert.deepEqual([...(value as string[])].sort(), [...(peft[key] as string[])].sort())
        else assert.deepEqual(value, peft[key], key)
      assert.deepEqual(Object.keys(written), Object.keys(written).toSorted())
      assert.match(
        await fs.readFile(path.join(out, 'README.md'), 'utf8'),
        /base_model: "some\/base"/,
      )
    })
  })

/** The adapter that the golden run ended with, as a folder. */
const finalAdapter = async (name: string, folder: string): Promise<void> => {
  const prefix = 'train.final.'
  const { numbers, settings } = load(name)
  const tensors = [...numbers].flatMap(([key, values]) => {
    if (!key.startsWith(prefix)) return []
    const shape = key.includes('lora_A')
      ? [settings.r, values.length / settings.r]
      : [values.length / settings.r, settings.r]
    const data = new Uint8Array(Float32Array.from(values).buffer)
    return [{ name: key.slice(prefix.length), dtype: 'F32' as const, shape, data }]
  })
  await fs.mkdir(folder)
  right(await writeFile(path.join(folder, 'adapter_model.safetensors'), tensors)())
  const config = await json(goldenAt(name, 'adapter/adapter_config.json'))
  await fs.writeFile(path.join(folder, 'adapter_config.json'), JSON.stringify(config))
}

for (const name of ['llama2-tiny', 'llama3-tiny'])
  test(`${name}: the merged weights are PEFT's, all others byte for byte the base's`, async () => {
    await temporary(async (folder) => {
      const [adapter, out] = [path.join(folder, 'adapter'), path.join(folder, 'merged')]
      await finalAdapter(name, adapter)
      right(await mergeAdapter(goldenAt(name, 'base'), adapter, out)())
      const { numbers, base, settings } = load(name)
      const merged = tensorsOf(path.join(out, 'model.safetensors'))
      assert.deepEqual([...merged.keys()].sort(), [...base.keys()].sort())
      for (const [key, values] of merged) {
        const golden = numbers.get(`merged.${key}`)
        if (golden !== undefined) assert.ok(relativeError(values, golden) < 1e-7, key)
        const adapted = settings.targets.some((t) => key.endsWith(`${t}.weight`))
        if (adapted) assert.notDeepEqual(values, base.get(key), key)
        else assert.deepEqual(values, base.get(key), key)
      }
      assert.deepEqual(
        await json(path.join(out, 'config.json')),
        await json(goldenAt(name, 'base/config.json')),
      )
    })
  })

const bf16 = (bytes: Uint8Array): Float64Array =>
  Float64Array.from(
    new Float32Array(
      Uint32Array.from(new Uint16Array(new Uint8Array(bytes).buffer), (h) => h << 16).buffer,
    ),
  )

/** Reads a bf16 tensor of a file by the format's own rules. */
const stored = async (file: string, name: string): Promise<Float64Array> => {
  const all = await fs.readFile(file)
  const header = Number(all.readBigUInt64LE(0))
  const entry = (
    JSON.parse(all.toString('utf8', 8, 8 + header)) as Record<
      string,
      { data_offsets: [number, number] }
    >
  )[name]!
  const [a, b] = entry.data_offsets
  return bf16(all.subarray(8 + header + a, 8 + header + b))
}

test('a bf16 base takes the sum rounded once, to the nearest', async () => {
  await withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const out = path.join(folder, 'merged')
    right(await mergeAdapter(path.join(folder, 'base'), done.adapterFolder!, out)())
    const adapter = tensorsOf(path.join(done.adapterFolder!, 'adapter_model.safetensors'))
    const at = 'model.layers.0.self_attn.q_proj'
    const [A, B] = ['A', 'B'].map((m) => adapter.get(`base_model.model.${at}.lora_${m}.weight`)!)
    const w = bf16(baseTensors().find((t) => t.name === `${at}.weight`)!.data)
    const merged = await stored(path.join(out, 'model.safetensors'), `${at}.weight`)
    let changed = 0
    merged.forEach((v, i) => {
      const [o, c] = [Math.floor(i / 16), i % 16]
      const exact = w[i]! + 2 * (B![2 * o]! * A![c]! + B![2 * o + 1]! * A![16 + c]!)
      const ulp = 2 ** (Math.floor(Math.log2(Math.abs(exact))) - 7)
      assert.ok(Math.abs(v - exact) <= (ulp / 2) * (1 + 1e-6), `${v} for ${exact}`)
      changed += v === w[i] ? 0 : 1
    })
    assert.ok(changed > 100)
  })
})

test('a base of doubles can be trained, so it can be merged into as well', async () => {
  await withBase(async (folder) => {
    const base = path.join(folder, 'base')
    const wide = baseTensors('F32').map(({ data, ...t }) => {
      const doubles = Float64Array.from(new Float32Array(new Uint8Array(data).buffer))
      return { ...t, dtype: 'F64' as const, data: new Uint8Array(doubles.buffer) }
    })
    await fs.rm(path.join(base, 'model.safetensors'))
    right(await writeFolder(base, wide, { maxShardBytes: 1e9 })())
    const text = yaml().replace(
      '  r: 2',
      '  r: 2\n  postprocessor: { merge_adapter_into_base_model: true }',
    )
    const done = right(await train(planFor(folder, text), reference, quiet(folder).options)())
    const merged = await fs.readFile(path.join(done.mergedFolder!, 'model.safetensors'))
    const header = JSON.parse(
      merged.toString('utf8', 8, 8 + Number(merged.readBigUInt64LE(0))),
    ) as Record<string, { dtype: string }>
    assert.equal(header['model.layers.0.self_attn.q_proj.weight']!.dtype, 'F32')
    assert.equal(header['model.layers.0.self_attn.k_proj.weight']!.dtype, 'F64')
  })
})

test('a merged model carries the positions it was trained with', async () => {
  await withBase(async (folder) => {
    const text = yaml(
      '',
      'model_parameters: { rope_scaling: { rope_type: linear, factor: 2 } }',
    ).replace('  r: 2', '  r: 2\n  postprocessor: { merge_adapter_into_base_model: true }')
    const plan = planFor(folder, text)
    const done = right(await train(plan, reference, quiet(folder).options)())
    const config = await json(path.join(done.mergedFolder!, 'config.json'))
    assert.deepEqual(config['rope_scaling'], { rope_type: 'linear', factor: 2 })
    assert.equal(config['max_position_embeddings'], 128)
    const base = path.join(folder, 'base')
    await fs.rm(base, { recursive: true })
    const rope = { rope_type: 'default', rope_theta: 5000 }
    await writeBase(base, baseTensors(), { rope_parameters: rope })
    const carried = { ...asTheBase, scaling: { factor: 3 } }
    right(await mergeAdapter(base, done.adapterFolder!, path.join(folder, 'm'), carried)())
    const newer = await json(path.join(folder, 'm', 'config.json'))
    assert.deepEqual(newer['rope_parameters'], { rope_theta: 5000, rope_type: 'linear', factor: 3 })
  })
})

test('an export that is not read back as it was, or does nothing, leaves the old folder', async () => {
  await withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const session = right(await reference.prepare(plan.program)())
    right(await initializePlan(plan, session)())
    const out = path.join(folder, 'adapter')
    const attempt = (s: Session) =>
      exportAdapter(
        {
          session: s,
          program: plan.program,
          lora: plan.techniques.lora!,
          baseModel: 'base',
          baseFolder: plan.base.folder!,
          carried: asTheBase,
          start: startOf(plan),
        },
        out,
      )()
    assert.match(left(await attempt(session)).message, /no-op/)
    assert.deepEqual((await fs.readdir(folder)).sort(), ['base'])
    const b = plan.program.state.find(
      (s) => s.role === 'train' && s.name.endsWith('lora_B.weight'),
    )!
    const ones = new Uint8Array(
      new Float32Array(b.type.shape[0]! * b.type.shape[1]!).fill(1).buffer,
    )
    right(await session.write(b.name, ones)())
    right(await attempt(session))
    const before = await fs.readFile(path.join(out, 'adapter_model.safetensors'))
    let reads = 0
    const unsteady: Session = {
      ...session,
      read: (name) =>
        pipe(
          session.read(name),
          TE.map((bytes) => {
            reads += name === b.name ? 1 : 0
            return name === b.name && reads > 1 ? bytes.map((x, i) => (i === 0 ? x ^ 1 : x)) : bytes
          }),
        ),
    }
    assert.match(left(await attempt(unsteady)).message, /differs from the trained one/)
    assert.deepEqual(await fs.readFile(path.join(out, 'adapter_model.safetensors')), before)
    assert.deepEqual((await fs.readdir(folder)).sort(), ['adapter', 'base'])
  })
})

test('an adapter that does not fit is refused with what does not', async () => {
  await withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const adapter = done.adapterFolder!
    // As PEFT leaves one: what was changed on purpose is no damage.
    await fs.rm(path.join(adapter, 'SHA256SUMS'))
    const into = async (text: string, changes: Readonly<Record<string, unknown>> = {}) => {
      const file = path.join(adapter, 'adapter_config.json')
      const before = await fs.readFile(file, 'utf8')
      await fs.writeFile(file, JSON.stringify({ ...(JSON.parse(before) as object), ...changes }))
      const plan = planFor(folder, text)
      const session = right(await reference.prepare(plan.program)())
      const ended = await importAdapter(session, plan.program, plan.techniques.lora!, adapter)()
      await fs.writeFile(file, before)
      return ended
    }
    right(await into(yaml()))
    const cases: ReadonlyArray<readonly [string, object, RegExp]> = [
      [
        yaml().replace('r: 2', 'r: 4'),
        {},
        /has r 2 expected 4.*lora_alpha 4 expected 8.*shape \[2, 16\] expected \[4, 16\]/s,
      ],
      [
        yaml().replace('r: 2', 'r: 2\n  alpha: 3'),
        {},
        /has lora_alpha 4 expected 3, as adapter\.alpha says/,
      ],
      [
        yaml().replace('v_proj]', 'k_proj]'),
        {},
        /has no .*k_proj\.lora_A.*target_modules are q_proj, v_proj.*no place for|no place for.*has no/s,
      ],
      [
        yaml().replace('[q_proj, v_proj]', '[q_proj]'),
        {},
        /holds .*v_proj\.lora_[AB]\.weight, which the program has no place for/,
      ],
      [yaml(), { use_dora: true }, /has use_dora true expected false, as adapter/],
      [yaml(), { use_rslora: true }, /by 2\.82.* expected 2 .*use_rslora/],
      [yaml(), { alpha_pattern: { q_proj: 3 } }, /beside .*q_proj by 1.5 expected 2 /],
      [yaml(), { init_lora_weights: 'pissa' }, /sets init_lora_weights/],
      [yaml(), { target_modules: '(?<a>q_proj' }, /only Python reads/],
      [yaml(), { peft_type: 'LOHA' }, /of type LOHA expected LORA/],
      [yaml(), { r: 'eight' }, /does not describe a LoRA adapter/],
    ]
    for (const [text, changes, expected] of cases) {
      const issues = left(await into(text, { ...changes }))
      const said = issues.map((i) => `${i.message} expected ${i.expected} ${i.hint}`).join('\n')
      assert.match(said, expected)
      assert.ok(issues.every((i) => i.file?.startsWith(adapter)))
    }
    assert.ok(
      E.isLeft(
        await mergeAdapter(goldenAt('llama2-tiny', 'base'), adapter, path.join(folder, 'm'))(),
      ),
    )
    const [first] = [
      left(await mergeAdapter(goldenAt('llama3-tiny', 'base'), adapter, path.join(folder, 'm'))()),
    ]
    assert.match(first!.message, /does not fit/)
    assert.deepEqual((await fs.readdir(folder)).sort(), ['base', 'results'])
  })
})
