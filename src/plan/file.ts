/** A plan as a JSON file: everything a run needs, checked again when it is read. */
import fs from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Program } from '../../ir/graph.ts'
import { parse } from '../../ir/parse.ts'
import { print } from '../../ir/print.ts'
import { showReason } from '../../ir/reason.ts'
import { peakOf } from '../../passes/memory.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import { parseConfig, renderConfig, type Config } from '../config/index.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { findBase, type Base } from '../models/base.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { prepareDataset, type Dataset } from './dataset.ts'
import { fileCodec, VERSION, type PlanFile } from './file-codec.ts'
import { changed, fileFingerprint, folderFingerprints, type Fingerprint } from './fingerprint.ts'
import type { Plan } from './plan.ts'
import { techniquesOf } from './techniques.ts'

const plainly = (value: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(value)) as Record<string, unknown>

const datasetFile = (c: Config, folder: string): string | null =>
  c.compiler.dataset === null ? null : path.resolve(folder, c.compiler.dataset)

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
      techniques: plainly(plan.techniques),
      shapes: plan.shapes,
      arenaBytes: plan.arenaBytes,
      peaks: Object.fromEntries(plan.program.fns.map((f) => [f.name, peakOf(plan.program, f)])),
      program: print(plan.program),
    })),
  )

const because = (e: unknown): string => (e instanceof Error ? e.message : String(e))

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

const decoded = (file: string): E.Either<Issues, PlanFile> =>
  pipe(
    E.tryCatch(
      () => JSON.parse(fs.readFileSync(file, 'utf8')) as unknown,
      (e) => one(issue(`the plan cannot be read: ${because(e)}`, { file })),
    ),
    E.chain((json) =>
      pipe(
        fileCodec.decode(json),
        E.mapLeft((errors) => {
          const at = errors[0]!.context.map((c) => c.key).filter((k) => k !== '')
          return one(
            issue('this is no plan that this version of tunec wrote', {
              file,
              path: at.join('.'),
              hint: 'compile the config again',
            }),
          )
        }),
      ),
    ),
  )

const programOf = (body: PlanFile, file: string): E.Either<Issues, Program> =>
  pipe(
    parse(body.program),
    E.mapLeft((r) => stale(file, `its program is not well formed: ${showReason(r)}`)),
    E.filterOrElse(
      (p) =>
        p.state.every((s) => s.offset !== undefined) &&
        p.fns.every((f) => f.offsets !== undefined) &&
        arenaBytes(p) === body.arenaBytes,
      () => stale(file, 'its program and its memory plan do not go together'),
    ),
  )

/** The base as the plan saw it; Left when its files have changed since. */
const baseOf = (body: PlanFile, folder: string, file: string): E.Either<Issues, Base> =>
  pipe(
    findBase(body.base.name, folder),
    E.mapLeft(one),
    E.bindTo('found'),
    E.bind('files', ({ found }) => pipe(baseFiles(found), E.mapLeft(one))),
    E.filterOrElse(
      ({ files }) => files === null || changed(body.base.files ?? [], files) === null,
      ({ files }) =>
        stale(
          file,
          `of the base ${body.base.name}, ${changed(body.base.files ?? [], files ?? [])}`,
        ),
    ),
    E.map(({ found }) => ({ ...found, spec: body.base.spec })),
  )

const dataOf = (
  body: PlanFile,
  config: Config,
  folder: string,
  base: Base,
  file: string,
): E.Either<Issues, Dataset | null> => {
  const rows = datasetFile(config, folder)
  if (body.data === null || rows === null || base.folder === null) return E.right(null)
  return pipe(
    fileFingerprint(rows),
    E.mapLeft(one),
    E.chain((now) => {
      const why = changed([body.data!], [now])
      return why === null
        ? prepareDataset(config, rows, base.folder!, base.spec)
        : E.left(stale(file, `of the data, ${why}`))
    }),
  )
}

/** Reads what `writePlan` wrote. Its trace is the scheduled program alone. Left: what is wrong or has changed since. */
export const readPlan = (file: string): E.Either<Issues, Plan> =>
  pipe(
    E.Do,
    E.bind('body', () => decoded(file)),
    E.bind('config', ({ body }) =>
      pipe(
        parseConfig(body.config, { file }),
        E.map((p) => p.config),
      ),
    ),
    E.let('folder', ({ body }) => path.resolve(path.dirname(file), body.folder)),
    E.let('techniques', ({ config }) => techniquesOf(config)),
    E.filterOrElse(
      ({ body, techniques }) =>
        JSON.stringify(plainly(techniques)) === JSON.stringify(body.techniques),
      () => stale(file, 'its config and its techniques do not go together'),
    ),
    E.bind('program', ({ body }) => programOf(body, file)),
    E.bind('base', ({ body, folder }) => baseOf(body, folder, file)),
    E.bind('data', ({ body, config, folder, base }) => dataOf(body, config, folder, base, file)),
    E.map(({ body, config, folder, techniques, program, base, data }) => ({
      config,
      folder,
      base,
      data,
      techniques,
      shapes: body.shapes,
      program,
      trace: [{ pass: 'plan', keeps: 'exact' as const, program, took: 0 }],
      arenaBytes: body.arenaBytes,
    })),
  )
