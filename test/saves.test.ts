/** The world ends at every call that changes the disk while a run saves: what it had, or what it was to have, is there. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import type { Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { findSaved, restore, restoreBest, save, type Saving } from '../src/train/checkpoint.ts'
import { beginning, type Progress } from '../src/train/progress.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { currentFolder } from '../src/tensors/atomic.ts'
import { verifySums } from '../src/tensors/sums.ts'
import { bury, hidden, progressAt, reseed } from './saves.ts'
import { right } from './right.ts'
import { crashAfter, gated, withoutSync } from './safetensors-faults.ts'
import { planFor, quiet, weightsOf, withBase, yaml } from './train-job.ts'

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What is trained, as it can be compared and shown at a glance. */
const weightsIn = async (session: Session, p: Program): Promise<ReadonlyArray<string>> => {
  const trained = p.state.filter((s) => s.role === 'train')
  return Promise.all(trained.map(async (s) => hashOf(right(await session.read(s.name)()))))
}

/** A saving over a session, and an untouched copy of its folder to go back to. */
const withSaving = (
  body: (saving: Saving, session: Session, program: Program) => Promise<void>,
): Promise<void> =>
  withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const session = right(await reference.prepare(plan.program)())
    const weights = right(await initializePlan(plan, session)())
    const resultsFolder = path.join(folder, 'run')
    const job = { config: {}, backend: 'reference', weights, program: '', data: '' }
    const { program } = plan
    await body({ session, program, job, metric: 'loss', resultsFolder }, session, program)
  })

const quickly = <A>(run: () => Promise<A>): Promise<A> => gated(withoutSync, run)

for (const halfway of [false, true])
  for (const [what, next, improved] of [
    ['keeps the best', progressAt(6, [2, 1.5], [4, 2], [6, 3]), false],
    ['is the best', progressAt(6, [2, 1.5], [4, 2], [6, 1]), true],
  ] as const)
    test(`a death at any change of a checkpoint that ${what} loses nothing (${halfway ? 'halfway' : 'before'})`, () =>
      withSaving(async (saving, session, program) => {
        const { resultsFolder } = saving
        const put = (p: Progress, better: boolean) =>
          quickly(async () => right(await save(saving, p, better)()))
        const old = progressAt(4, [2, 1.5], [4, 2])
        await put(beginning, false)
        await reseed(session, program, 2)
        const best = await weightsIn(session, program)
        await put(progressAt(2, [2, 1.5]), true)
        await reseed(session, program, 4)
        const before = await weightsIn(session, program)
        await put(old, false)
        const whole = `${resultsFolder}.whole`
        await fs.cp(resultsFolder, whole, { recursive: true })
        const seen = new Set<number>()
        for (let changes = 0, ended = false; !ended; changes++) {
          await fs.rm(resultsFolder, { recursive: true })
          await fs.cp(whole, resultsFolder, { recursive: true })
          await reseed(session, program, 6)
          const after = await weightsIn(session, program)
          const crash = crashAfter(changes, halfway)
          await gated(crash, () => save(saving, next, improved)())
          ended = crash.changes() <= changes
          if (halfway && !crash.split()) continue
          const at = `after ${changes} changes`
          const saved = right(await quickly(() => findSaved(resultsFolder)()))
          assert.ok(saved !== null, at)
          const { step } = right(await restore(saving, saved, 9)())
          seen.add(step)
          assert.deepEqual(saved.progress, step === 4 ? old : next, at)
          assert.deepEqual(await weightsIn(session, program), step === 4 ? before : after, at)
          right(await restoreBest(saving)())
          const expected = improved && step === 6 ? after : best
          assert.deepEqual(await weightsIn(session, program), expected, at)
          // As a run that goes on does it: the next checkpoint carries the best on.
          await put(progressAt(7, [2, 1.5], [4, 2], [6, 3]), false)
          right(await restoreBest(saving)())
          assert.deepEqual(await weightsIn(session, program), expected, at)
          assert.deepEqual(await hidden(resultsFolder), [], at)
        }
        assert.ok(seen.has(4) && (halfway || seen.has(6)))
      }))

test('a save after a death between the two renames finds the best weights where they were', () =>
  withSaving(async (saving, session, program) => {
    const put = async (p: Progress, better: boolean) =>
      right(await quickly(() => save(saving, p, better)()))
    await reseed(session, program, 2)
    const latest = await put(progressAt(2, [2, 1.5]), true)
    const best = await weightsIn(session, program)
    await fs.rename(latest, path.join(path.dirname(latest), '.latest.replaced'))
    await reseed(session, program, 4)
    await put(progressAt(4, [2, 1.5], [4, 2]), false)
    right(await restoreBest(saving)())
    assert.deepEqual(await weightsIn(session, program), best)
  }))

test('a best that the history names and that is gone is an issue, and the old checkpoint stands', () =>
  withSaving(async (saving) => {
    const put = (p: Progress, better: boolean) => quickly(() => save(saving, p, better)())
    const latest = right(await put(progressAt(2, [2, 1.5]), true))
    await fs.rm(path.join(latest, 'best.safetensors'))
    const failed = await put(progressAt(4, [2, 1.5], [4, 2]), false)
    assert.ok(failed._tag === 'Left')
    assert.match(failed.left.message, /cannot copy the best weights: there is no such file/)
    const found = await findSaved(saving.resultsFolder)()
    assert.ok(found._tag === 'Left' && found.left.file?.endsWith('best.safetensors'))
  }))

/** Everything that a run writes at its end. */
const exporting = yaml('  steps_per_checkpoint: 2', '').replace(
  '  r: 2',
  '  postprocessor: { merge_adapter_into_base_model: true }\n  r: 2',
)

for (const halfway of [false, true])
  test(`a death at any change of the final export: resumed, all is there (${halfway ? 'halfway' : 'before'})`, () =>
    withBase(async (folder) => {
      const plan = planFor(folder, exporting)
      const go = (resume?: string) =>
        train(plan, reference, quiet(folder, resume === undefined ? {} : { resume }).options)()
      const done = right(await quickly(() => go()))
      const results = done.resultsFolder
      const [adapter, merged] = [done.adapterFolder!, done.mergedFolder!]
      const written = async () => [
        hashOf(await weightsOf(adapter)),
        hashOf(await fs.readFile(path.join(merged, 'model.safetensors'))),
      ]
      const expected = await written()
      const whole = `${results}.whole`
      await fs.rm(path.join(results, 'ir'), { recursive: true })
      await fs.cp(results, whole, { recursive: true })
      let deaths = 0
      for (let changes = 0, ended = false; !ended; changes++) {
        await fs.rm(results, { recursive: true })
        await fs.cp(whole, results, { recursive: true })
        const crash = crashAfter(changes, halfway)
        await gated(crash, () => go(results))
        ended = crash.changes() <= changes
        if (ended || (halfway && !crash.split())) continue
        deaths += 1
        const at = `after ${changes} changes`
        for (const exported of [adapter, merged])
          right(await verifySums(right(await currentFolder(exported)()))())
        await bury(results)
        right(await quickly(() => go(results)))
        assert.deepEqual(await written(), expected, at)
        assert.deepEqual(await hidden(results), [], at)
      }
      assert.ok(deaths > (halfway ? 15 : 40), `${deaths} deaths`)
    }))
