/** From a file name on the command line to a config or a plan, with every problem at its place in the file. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { parseConfig, type Config, type Notice } from '../config/index.ts'
import { readYaml } from '../config/yaml/convert.ts'
import { positionOf } from '../config/yaml/node.ts'
import { datasetArgument } from '../hub/dataset-path.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Device } from '../plan/device.ts'
import { isPlanFile, readPlan } from '../plan/file.ts'
import { planOf, type Plan } from '../plan/plan.ts'
import { foresee } from '../train/foresee.ts'
import { renderIssues } from '../report/issues.ts'
import { readText } from '../text-file.ts'
import { embedded } from './embeddings.ts'
import { deviceHere } from './card.ts'
import { flagOf, numberOf, textOf, type Exit, type Options } from './command.ts'
import { obtained, type Need } from './hub.ts'
import type { Terminal } from './terminal.ts'

export interface OpenedConfig {
  readonly file: string
  readonly folder: string
  readonly config: Config
  readonly notices: ReadonlyArray<Notice>
}

const textOfFile = (file: string): E.Either<Issues, string> =>
  pipe(
    readText(file),
    E.chain(E.fromNullable(issue('there is no such file', { file, expected: 'a YAML config' }))),
    E.mapLeft(one),
  )

/** What options say in place of keys; `--dataset` is relative to where the command runs, unlike its key. */
const overridden = (c: Config, o: Options): Config => {
  const [dataset, seed] = [textOf(o, 'dataset'), numberOf(o, 'randomSeed')]
  return {
    ...c,
    random_seed: seed ?? c.random_seed,
    compiler:
      dataset === undefined ? c.compiler : { ...c.compiler, dataset: datasetArgument(dataset) },
  }
}

export const openConfig = (file: string, o: Options): E.Either<Issues, OpenedConfig> =>
  pipe(
    textOfFile(file),
    E.chain((text) => parseConfig(text, { file, lenient: flagOf(o, 'lenient') })),
    E.map(({ config, notices }) => ({
      file,
      folder: path.dirname(path.resolve(file)),
      config: overridden(config, o),
      notices,
    })),
  )

/** Problems found after the config was read, pointed at the line that is to blame. */
const placed = (file: string, issues: Issues): Issues => {
  const yaml = pipe(
    textOfFile(file),
    E.chain((text) => readYaml(text, file)),
  )
  if (E.isLeft(yaml)) return issues
  const at = (i: Issue): Issue => {
    if (i.file !== undefined || i.path === undefined) return i
    const path = i.path.replace(/\[(\d+)\]/g, '.$1').split('.')
    return { ...i, file, ...positionOf(yaml.right.root, path, 'value') }
  }
  const [first, ...rest] = issues
  return [at(first), ...rest.map(at)]
}

/** A plan whose base's contradictions have been shown. */
export const remarked = (plan: Plan, t: Terminal): Plan => {
  showNotices(
    plan.base.folder ?? plan.base.name,
    plan.base.remarks.map((message) => ({ message })),
    t,
  )
  return plan
}

/** A config, and what it is planned for here. */
export interface OpenedHere extends OpenedConfig {
  readonly device: Device | null
}

/** `need`: how much of what lies on a hub is fetched. */
export const openHere = async (
  file: string,
  o: Options,
  t: Terminal,
  need: Need = 'plan',
): Promise<E.Either<Issues, OpenedHere>> => {
  const opened = openConfig(file, o)
  if (E.isLeft(opened)) return opened
  const { config, folder } = opened.right
  const here = await obtained(config, folder, need, t)()
  if (E.isLeft(here)) return E.left(placed(file, here.left))
  const made = await embedded(opened.right, o, t)()
  if (E.isLeft(made)) return E.left(placed(file, made.left))
  return E.right({ ...opened.right, device: await deviceHere(config, o) })
}

/** Compiles a config after `change`. */
export const planFrom = (
  opened: OpenedHere,
  t: Terminal,
  change: (c: Config) => Config = (c) => c,
): E.Either<Issues, Plan> =>
  pipe(
    planOf(change(opened.config), {
      folder: opened.folder,
      clock: t.clock,
      device: opened.device,
    }),
    E.bimap(
      (issues) => placed(opened.file, issues),
      (plan) => remarked(plan, t),
    ),
  )

/** What a command demands of a plan before it goes on. */
export type Demand = (plan: Plan) => E.Either<Issues, unknown>

/** A plan whose run can succeed as far as plan and data tell. */
export const runnableFrom = (
  opened: OpenedHere,
  t: Terminal,
  demand: Demand = foresee,
): E.Either<Issues, Plan> =>
  pipe(
    planFrom(opened, t),
    E.chainFirst((plan) =>
      pipe(
        demand(plan),
        E.mapLeft((issues) => placed(opened.file, issues)),
      ),
    ),
  )

/** A config, compiled, or a plan, read; either way one whose run can succeed. */
export const openPlan = async (
  file: string,
  o: Options,
  t: Terminal,
  demand: Demand = foresee,
  need: Need = 'plan',
): Promise<E.Either<Issues, Plan>> => {
  if (!isPlanFile(file))
    return pipe(
      await openHere(file, o, t, need),
      E.chainFirst(({ notices }) => E.right(showNotices(file, notices, t))),
      E.chain((opened) => runnableFrom(opened, t, demand)),
    )
  const fixed = textOf(o, 'dataset')
  return fixed === undefined
    ? pipe(
        readPlan(file, t.clock),
        E.map((plan) => remarked(plan, t)),
        E.chainFirst(demand),
      )
    : E.left(
        one(
          issue('a plan is made for its own data, --dataset cannot change it', {
            file,
            hint: 'compile the config with --dataset',
          }),
        ),
      )
}

export const showNotices = (file: string, notices: ReadonlyArray<Notice>, t: Terminal): void => {
  const s = t.noteStyle
  for (const n of notices)
    t.note(
      `${s.yellow('note:')} ${n.message}${n.line === undefined ? '' : s.dim(` (${file}:${n.line})`)}`,
    )
}

/** Paths below the working directory as they are typed. */
export const nearby = (text: string): string => text.replaceAll(`${process.cwd()}${path.sep}`, '')

const near = (i: Issue): Issue => (i.file === undefined ? i : { ...i, file: nearby(i.file) })

/** States problems; the exit code that goes with them. */
export const refuse = (issues: ReadonlyArray<Issue>, t: Terminal): Exit => {
  t.status(null)
  t.note(...renderIssues(issues.map(near), t.source, t.noteStyle))
  return 1
}
