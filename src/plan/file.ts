/** A plan as a JSON file: everything a run needs, checked again when it is read. */
import fs from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { print } from '../../ir/print.ts'
import { parseConfig, renderConfig, type Config } from '../config/index.ts'
import { datasetPath } from '../hub/dataset-path.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { findBase, type Base } from '../models/base.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { readJsonFile } from '../text-file.ts'
import type { Dataset } from './dataset.ts'
import { firstDifference } from './difference.ts'
import { inputsCodec, VERSION, type PlanFile, type PlanInputs } from './file-codec.ts'
import { changed, fileFingerprint, folderFingerprints, type Fingerprint } from './fingerprint.ts'
import { machineOf } from './machine.ts'
import { planOf, type Plan } from './plan.ts'

const plainly = (value: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(value)) as Record<string, unknown>

/** Null: none is named, or it was not fetched. */
const datasetFile = (c: Config, folder: string): string | null =>
  c.compiler.dataset === null
    ? null
    : pipe(
        datasetPath(c.compiler.dataset, folder),
        E.getOrElse<Issue, string | null>(() => null),
      )

const baseFiles = (base: Base): E.Either<Issue, ReadonlyArray<Fingerprint> | null> =>
  base.folder === null ? E.right(null) : folderFingerprints(base.folder)

const dataFingerprint = (
  c: Config,
  folder: string,
  data: Dataset | null,
): E.Either<Issue, Fingerprint | null> => {
  const file = datasetFile(c, folder)
  return data === null || file === null ? E.right(null) : fileFingerprint(file)
}

/** What the file of a plan holds when it lies in `home`. */
const contents = (plan: Plan, home: string): E.Either<Issue, PlanFile> =>
  pipe(
    E.Do,
    E.bind('files', () => baseFiles(plan.base)),
    E.bind('data', () => dataFingerprint(plan.config, plan.folder, plan.data)),
    E.map(({ files, data }) => ({
      tunec: 'plan' as const,
      version: VERSION,
      folder: path.relative(home, plan.folder) || '.',
      config: renderConfig(plan.config),
      base: { name: plan.base.name, spec: plan.base.spec, files },
      data,
      device: plan.device,
      techniques: plainly(plan.techniques),
      shapes: plan.shapes,
      room: plan.room,
      arenaBytes: plan.arenaBytes,
      totalBytes: plan.totalBytes,
      peaks: Object.fromEntries(
        plan.program.fns.map((f) => [
          f.name,
          machineOf(plan.device, plan.room).peak(plan.program, f),
        ]),
      ),
      program: print(plan.program),
    })),
  )

/** Writes a plan so that it is whole or not there. */
export const writePlan = (plan: Plan, file: string): TE.TaskEither<Issue, void> => {
  const home = path.dirname(path.resolve(file))
  return pipe(
    TE.fromEither(contents(plan, home)),
    TE.chainFirst(() => attempt('make the folder', home, () => mkdir(home, { recursive: true }))),
    TE.chain((body) => atomicWrite(file, Buffer.from(`${JSON.stringify(body, null, 1)}\n`))),
  )
}

/** Whether a file is a plan rather than a config. */
export const isPlanFile = (file: string): boolean =>
  file.endsWith('.json') && /^\s*\{\s*"tunec"\s*:\s*"plan"/.test(head(file))

const head = (file: string): string => {
  const opened = E.tryCatch(
    () => fs.openSync(file, 'r'),
    () => null,
  )
  if (E.isLeft(opened)) return ''
  const bytes = new Uint8Array(64)
  const n = fs.readSync(opened.right, bytes)
  fs.closeSync(opened.right)
  return new TextDecoder().decode(bytes.subarray(0, n))
}

const stale = (file: string, why: string): Issues =>
  one(
    issue(`the plan no longer holds: ${why}`, {
      file,
      hint: 'compile the config again',
    }),
  )

const otherVersion = (file: string, path: string): Issues =>
  one(
    issue('this is no plan that this version of tunec wrote', {
      file,
      ...(path === '' ? {} : { path }),
      hint: 'compile the config again',
    }),
  )

/** The file as it is, and what of it a plan is made of. */
const opened = (
  file: string,
): E.Either<Issues, { readonly json: unknown; readonly inputs: PlanInputs }> =>
  pipe(
    readJsonFile(file),
    E.mapLeft((i) => one({ ...i, message: `the plan cannot be read: ${i.message}` })),
    E.chain((json) =>
      pipe(
        inputsCodec.decode(json),
        E.bimap(
          (errors) =>
            otherVersion(
              file,
              errors[0]!.context
                .map((c) => c.key)
                .filter((k) => k !== '')
                .join('.'),
            ),
          (inputs) => ({ json, inputs }),
        ),
      ),
    ),
  )

/** Which of the plan's inputs has changed since, or null. Asked first: what follows would only be a consequence. */
const changedInput = (
  { base, data }: PlanInputs,
  config: Config,
  folder: string,
): E.Either<Issue, string | null> =>
  pipe(
    E.Do,
    E.bind('found', () => findBase(base.name, folder)),
    E.bind('files', ({ found }) => baseFiles(found)),
    E.bind('rows', () => {
      const file = datasetFile(config, folder)
      return data === null || file === null ? E.right(null) : fileFingerprint(file)
    }),
    E.map(({ files, rows }) => {
      const ofBase = files === null ? null : changed(base.files ?? [], files)
      if (ofBase !== null) return `of the base ${base.name}, ${ofBase}`
      const ofData = data === null || rows === null ? null : changed([data], [rows])
      return ofData === null ? null : `of the data, ${ofData}`
    }),
  )

/** Left: something in the file is not what this compiler makes of its config and inputs. */
const same = (file: string, json: unknown, made: Plan): E.Either<Issues, Plan> =>
  pipe(
    contents(made, path.dirname(path.resolve(file))),
    E.mapLeft(one),
    E.chain((body) => {
      const found = firstDifference(json, plainly(body))
      return found === null
        ? E.right(made)
        : E.left(
            one(
              issue(
                `the plan is not what this compiler makes of its config: ${found.path} is ${found.is}`,
                { file, expected: found.instead, hint: 'compile the config again' },
              ),
            ),
          )
    }),
  )

/**
 * Reads what `writePlan` wrote: its config is compiled again, and all that the file holds compared with what comes out.
 * Left: what is wrong or has changed since.
 */
export const readPlan = (file: string, clock: () => number = () => 0): E.Either<Issues, Plan> =>
  pipe(
    E.Do,
    E.bind('read', () => opened(file)),
    E.bind('config', ({ read }) =>
      pipe(
        parseConfig(read.inputs.config, { file }),
        E.map((p) => p.config),
      ),
    ),
    E.let('folder', ({ read }) => path.resolve(path.dirname(file), read.inputs.folder)),
    E.chainFirst(({ read, config, folder }) =>
      pipe(
        changedInput(read.inputs, config, folder),
        E.mapLeft(one),
        E.chain((why) => (why === null ? E.right(undefined) : E.left(stale(file, why)))),
      ),
    ),
    E.bind('made', ({ read, config, folder }) =>
      planOf(config, { folder, clock, device: read.inputs.device }),
    ),
    E.chain(({ read, made }) => same(file, read.json, made)),
  )
