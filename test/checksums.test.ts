/** What is read back is what was written: a flipped bit, an impossible progress and another base are refused by name. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { reference } from '../backends/reference/index.ts'
import { terminal } from '../src/cli/terminal.ts'
import { planTrained, withSession } from '../src/cli/trained-session.ts'
import { openTrained, type Trained } from '../src/cli/trained.ts'
import { random } from '../src/data/random.ts'
import type { Issue, Issues } from '../src/issue.ts'
import { askingProgram } from '../src/plan/asking.ts'
import { findSaved } from '../src/train/checkpoint.ts'
import { openFolder } from '../src/tensors/reader.ts'
import { writeFolder } from '../src/tensors/writer.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { train } from '../src/train/train.ts'
import { resumed } from './resume-job.ts'
import { right } from './right.ts'
import { left, planFor, quiet, weightsOf, withBase, yaml } from './train-job.ts'

const flip = async (file: string, bit: number): Promise<void> => {
  const bytes = await fs.readFile(file)
  bytes[bit >> 3]! ^= 1 << (bit & 7)
  await fs.writeFile(file, bytes)
}

/** Writes the checksums of a folder as `sha256sum *` would. */
const sum = async (folder: string): Promise<void> => {
  const names = (await fs.readdir(folder)).filter((n) => n !== 'SHA256SUMS').toSorted()
  const lines = names.map(async (n) => {
    const bytes = await fs.readFile(path.join(folder, n))
    return `${createHash('sha256').update(bytes).digest('hex')}  ${n}\n`
  })
  await fs.writeFile(path.join(folder, 'SHA256SUMS'), (await Promise.all(lines)).join(''))
}

/** A run that was stopped after some steps, the last of them no improvement or not evaluated. */
const stopped = async (folder: string) => {
  const { events, options } = quiet(folder)
  const stop = (): boolean => events.filter((e) => e._tag === 'step').length >= 7
  const { resultsFolder } = right(
    await train(planFor(folder, resumed), reference, { ...options, stop })(),
  )
  const latest = path.join(resultsFolder, 'model', 'training_checkpoints', 'latest')
  return { results: resultsFolder, latest }
}

const goOn = async (folder: string, results: string) => {
  const { events, options } = quiet(folder, { resume: results })
  const ended = await train(planFor(folder, resumed), reference, options)()
  return { events, ended }
}

test('one flipped bit anywhere in a checkpoint is refused, and its file is named', () =>
  withBase(async (folder) => {
    const { results, latest } = await stopped(folder)
    const files = (await fs.readdir(latest)).toSorted()
    assert.deepEqual(files, [
      'SHA256SUMS',
      'best.safetensors',
      'progress.json',
      'state.safetensors',
    ])
    const draw = random(11, 3)
    for (const name of files) {
      const file = path.join(latest, name)
      const bits = 8 * (await fs.stat(file)).size
      const list = name === 'SHA256SUMS'
      for (let n = 0; n < (list ? 300 : 100); n++) {
        const bit = draw.below(bits)
        await flip(file, bit)
        const found = left(await findSaved(results)())
        // A flip in the list looks like one in the file that it is about.
        if (!list) assert.equal(found.file, file, `bit ${bit}: ${JSON.stringify(found)}`)
        assert.ok(found.file?.startsWith(latest) && found.hint !== undefined, `bit ${bit}`)
        await flip(file, bit)
      }
      assert.ok(right(await findSaved(results)()) !== null)
    }
    for (const name of files.slice(1)) {
      const file = path.join(latest, name)
      await flip(file, 8 * 20 + 1)
      const { events, ended } = await goOn(folder, results)
      assert.match(left(ended)[0].message, new RegExp(`^${name} is not what was written`))
      assert.deepEqual(events, [])
      await flip(file, 8 * 20 + 1)
    }
    right((await goOn(folder, results)).ended)
  }))

test('a list of checksums that is gone, short or of fewer files is refused', () =>
  withBase(async (folder) => {
    const { results, latest } = await stopped(folder)
    const list = path.join(latest, 'SHA256SUMS')
    const text = await fs.readFile(list, 'utf8')
    const refusal = async (change: () => Promise<void>, expected: RegExp): Promise<void> => {
      await change()
      assert.match(left((await goOn(folder, results)).ended)[0].message, expected)
      await fs.writeFile(list, text)
    }
    const without = (name: string) => () =>
      fs.writeFile(list, text.replace(new RegExp(`.*${name}\n`), ''))
    await refusal(() => fs.rm(list), /has no SHA256SUMS/)
    await refusal(() => fs.writeFile(list, text.slice(0, -1)), /middle of a line/)
    for (const name of ['state.safetensors', 'best.safetensors'])
      await refusal(without(name), new RegExp(`${name} has no checksum`))
    await refusal(without('progress.json'), /has lost progress\.json/)
    for (const name of ['state.safetensors', 'best.safetensors']) {
      const kept = await fs.readFile(path.join(latest, name))
      await fs.rm(path.join(latest, name))
      await refusal(without(name), new RegExp(`has lost ${name}`))
      await fs.writeFile(path.join(latest, name), kept)
    }
  }))

test('a progress that no run comes to is refused, whatever its checksum', () =>
  withBase(async (folder) => {
    const { results, latest } = await stopped(folder)
    const file = path.join(latest, 'progress.json')
    const text = await fs.readFile(file, 'utf8')
    const whole = JSON.parse(text) as {
      readonly progress: { readonly history: ReadonlyArray<object> }
    }
    const with_ = (change: object) =>
      JSON.stringify({ ...whole, progress: { ...whole.progress, ...change } })
    const { history } = whole.progress
    const counts = { lossSum: 1, correct: 5, scored: 4, sequences: 2, sequencesRight: 0 }
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ...['step', 'applied', 'tokens', 'scored'].flatMap((key) =>
        ['7.5', '1e300', '-1', '9007199254740993', '"7"', 'null'].map(
          (value) =>
            [
              text.replace(new RegExp(`"${key}": \\d+(?=[^}]*"history")`), `"${key}": ${value}`),
              /no progress of a run/,
            ] as const,
        ),
      ),
      [text.replace(/"seconds": \d+/, '"seconds": 1e999'), /no progress of a run/],
      [with_({ seconds: -1 }), /no run comes to such a progress: it has taken -1 seconds/],
      [with_({ step: 16, applied: 16 }), /it is after step 16, and the run has 15$/],
      [with_({ applied: 8 }), /8 of 7 steps changed the weights/],
      [with_({ step: 1, applied: 1 }), /it is after step 1, and was evaluated after step/],
      [with_({ history: history.toReversed() }), /evaluations are not in order/],
      [with_({ history: [{ ...history[0], validation: counts }] }), /more right than there are/],
      [with_({ history: [{ ...history[0], step: 1.5 }] }), /no progress of a run/],
    ]
    for (const [changed, expected] of cases) {
      assert.notEqual(changed, text)
      await fs.writeFile(file, changed)
      await sum(latest)
      const { events, ended } = await goOn(folder, results)
      const [first] = left(ended)
      assert.match(first.message, expected, changed)
      assert.equal(first.file, file)
      assert.deepEqual(events, [])
    }
    await fs.writeFile(file, text)
    await sum(latest)
    right((await goOn(folder, results)).ended)
  }))

test('best weights that change on the disk while a run goes on do not become its adapter', () =>
  withBase(async (folder) => {
    const { options } = quiet(folder)
    const results = path.join(folder, 'results', 'experiment_run')
    const best = path.join(
      ...[results, 'model', 'training_checkpoints', 'latest', 'best.safetensors'],
    )
    const onEvent = (e: TrainEvent): void => {
      if (e._tag !== 'checkpoint' || e.step !== 9) return
      const bytes = readFileSync(best)
      bytes[bytes.length - 1]! ^= 4
      writeFileSync(best, bytes)
    }
    const ended = await train(planFor(folder, yaml()), reference, { ...options, onEvent })()
    assert.match(left(ended)[0].message, /^best\.safetensors is not what was written/)
    await assert.rejects(fs.stat(path.join(results, 'model', 'model_weights')))
  }))

const silent = { ...terminal(), note: () => {}, out: () => {}, status: () => {} }

/** Opens results as `evaluate` and `generate` do, up to a session that could answer. */
const asked = async (results: string): Promise<E.Either<Issues, string>> => {
  const found = await openTrained(results, {}, silent)()
  if (E.isLeft(found)) return found
  const { config } = found.right
  const compiler = { ...config.compiler, dataset: null, row_length: 8, micro_batch_rows: 1 }
  const trained: Trained = { ...found.right, config: { ...config, compiler } }
  const plan = right(planTrained(trained, silent))
  const shapes = { ...plan.shapes, generate: null }
  const { program } = right(askingProgram(plan.base, plan.techniques, shapes, ['evaluate']))
  return withSession(reference, plan, program, trained, () => TE.right<Issues, string>('asked'))()
}

test('a base that is not the one trained on is noticed, and so is a damaged adapter', () =>
  withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const { resultsFolder: results } = done
    const adapter = done.adapterFolder!
    const base = path.join(folder, 'base')
    assert.equal(right(await asked(results)), 'asked')
    const refusal = async (
      file: string,
      change: (text: Buffer) => Buffer | string,
      expected: RegExp,
    ): Promise<Issue> => {
      const before = await fs.readFile(file)
      await fs.writeFile(file, change(before))
      const [first] = left(await asked(results))
      assert.match(first.message, expected)
      await fs.writeFile(file, before)
      return first
    }
    const other = /^the base model is not the one that this was trained on: /
    const eps = (b: Buffer): string =>
      b.toString().replace('1e-5', '1e-6').replace('0.00001', '1e-6')
    const found = await refusal(path.join(base, 'config.json'), eps, /config\.json has changed/)
    assert.match(found.message, other)
    await refusal(path.join(base, 'tokenizer.json'), (b) => `${b} `, /tokenizer\.json has changed/)
    const last = (b: Buffer) => Buffer.from(b.map((x, i) => (i === b.length - 1 ? x ^ 1 : x)))
    await refusal(path.join(base, 'model.safetensors'), last, /its weights are others/)
    await fs.writeFile(path.join(base, 'generation_config.json'), '{}')
    assert.match(left(await asked(results))[0].message, /generation_config\.json is new/)
    await fs.rm(path.join(base, 'generation_config.json'))
    await refusal(
      path.join(results, 'description.json'),
      (b) => b.toString().replace('"rope_scaling": null', '"rope_scaling": {"factor": 2}'),
      /^description\.json is not what was written/,
    )
    const weights = path.join(adapter, 'adapter_model.safetensors')
    await refusal(weights, last, /^adapter_model\.safetensors is not what was written/)
    await refusal(
      path.join(adapter, 'adapter_config.json'),
      (b) => b.toString().replace('"lora_alpha": 4', '"lora_alpha": 5'),
      /^adapter_config\.json is not what was written/,
    )
    await refusal(path.join(adapter, 'SHA256SUMS'), () => '', /has no checksum in SHA256SUMS/)
    assert.equal(right(await asked(results)), 'asked')
  }))

test('the same base cut into other files is the same base', () =>
  withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const base = path.join(folder, 'base')
    const whole = right(await openFolder(base)())
    const tensors = await Promise.all(
      [...whole.tensors.values()].map(async ({ name, dtype, shape }) => ({
        ...{ name, dtype, shape },
        data: right(await whole.read(name)()),
      })),
    )
    await fs.rm(path.join(base, 'model.safetensors'))
    right(await writeFolder(base, tensors, { maxShardBytes: 2000 })())
    assert.ok((await fs.readdir(base)).length > 5)
    assert.equal(right(await asked(done.resultsFolder)), 'asked')
  }))

test('weights whose replacement was cut short are found where they are', () =>
  withBase(async (folder) => {
    const done = right(await train(planFor(folder, yaml()), reference, quiet(folder).options)())
    const adapter = done.adapterFolder!
    const before = await weightsOf(adapter)
    const aside = path.join(path.dirname(adapter), '.model_weights.replaced')
    await fs.rename(adapter, aside)
    assert.equal(right(await asked(done.resultsFolder)), 'asked')
    assert.deepEqual(await weightsOf(aside), before)
    await fs.rename(aside, `${aside}.gone`)
    assert.match(left(await asked(done.resultsFolder))[0].message, /the run has not finished/)
  }))
