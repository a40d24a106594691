/** A job small enough to be trained for every key of its config, and everything that can be seen of it, the cheap first. */
import fs from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { stringify } from 'yaml'
import { reference } from '../backends/reference/index.ts'
import { print } from '../ir/print.ts'
import { parseConfig } from '../src/config/index.ts'
import { extracted } from '../src/config/outputs.ts'
import { classesOf, labelIn } from '../src/predict/labels.ts'
import { ask, heldOut } from '../src/cli/ask.ts'
import { terminal } from '../src/cli/terminal.ts'
import { random } from '../src/data/random.ts'
import { fitIssue, fitOf } from '../src/plan/fit.ts'
import { planOf, type Plan } from '../src/plan/plan.ts'
import { fromF32 } from '../src/tensors/convert.ts'
import { writeFolder } from '../src/tensors/writer.ts'
import { foresee } from '../src/train/foresee.ts'
import { rateAt, rateOf } from '../src/train/rate.ts'
import { runOfPlan, stepsOf } from '../src/train/schedule.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { model } from '../src/models/llama.ts'
import { findBase } from '../src/models/base.ts'
import { right } from './right.ts'

const VOCAB = 259
const config = {
  model_type: 'llama',
  vocab_size: VOCAB,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  max_position_embeddings: 128,
  bos_token_id: 1,
  eos_token_id: 2,
}

/** The bundled tokenizer without its merges: a token a byte. */
const tokenizer = async (): Promise<string> => {
  const file = path.join(import.meta.dirname, '../examples/code-instructions/base/tokenizer.json')
  const json = JSON.parse(await fs.readFile(file, 'utf8')) as {
    model: { vocab: Record<string, number>; merges: ReadonlyArray<unknown> }
  }
  const vocab = Object.fromEntries(Object.entries(json.model.vocab).filter(([, id]) => id < VOCAB))
  return JSON.stringify({ ...json, model: { ...json.model, vocab, merges: [] } })
}

export const writeModel = async (folder: string, seed: number): Promise<void> => {
  await fs.mkdir(folder, { recursive: true })
  await fs.writeFile(path.join(folder, 'config.json'), JSON.stringify(config))
  await fs.writeFile(path.join(folder, 'tokenizer.json'), await tokenizer())
  const names = { bos_token: '<s>', eos_token: '</s>', pad_token: '<pad>' }
  await fs.writeFile(path.join(folder, 'tokenizer_config.json'), JSON.stringify(names))
  const { spec } = right(findBase(folder, '.'))
  const program = right(model('m', spec, { rows: 1, length: 8, generate: null }))
  const tensors = program.state.map(({ name, type }, salt) => {
    const draw = random(seed, salt)
    const values = new Float32Array(type.shape.reduce((a, b) => a * b, 1)).map(() =>
      type.shape.length === 1 ? 1 : (draw.next() / 2 ** 32 - 0.5) * 1.2,
    )
    return { name, dtype: 'F32' as const, shape: type.shape, data: fromF32('F32', values) }
  })
  right(await writeFolder(folder, tensors, { maxShardBytes: 1e9 })())
}

/** Something seen of a job; the same text: it looks the same. */
type View = (plan: Plan, folder: string) => string | Promise<string>

const steps: View = (plan) => {
  const run = runOfPlan(plan, plan.data!)
  const rate = rateOf(plan.config.trainer, run)
  const all = [...stepsOf(run)].map((s) => [s.samples, s.marks, rateAt(rate, s.tick)])
  return JSON.stringify(all)
}

const below = async (folder: string): Promise<ReadonlyArray<string>> => {
  const names = await fs.readdir(folder, { recursive: true })
  return names.filter((n) => /model_weights|merged/.test(n)).toSorted()
}

/** What a model that nothing trains answers. */
const answers = async (plan: Plan): Promise<string> => {
  const session = right(await reference.prepare(plan.program)())
  right(await initializePlan(plan, session)())
  const given = await ask(plan, heldOut(plan), { ...terminal(), status: () => {} })(
    session,
    'before',
  )()
  right(await session.close()())
  return JSON.stringify(given)
}

const trained: View = async (plan, folder) => {
  if (plan.techniques.frozen !== undefined) return answers(plan)
  const results = path.join(folder, 'results')
  await fs.rm(results, { recursive: true, force: true })
  const told: Array<unknown> = []
  const questions = heldOut(plan)
  const done = await train(plan, reference, {
    resultsFolder: results,
    experimentName: 'run',
    onEvent: (e) => void told.push(e),
    stop: () => false,
    clock: () => 0,
    ...(questions.length === 0
      ? {}
      : { answer: ask(plan, questions, { ...terminal(), status: () => {} }) }),
  })()
  if (E.isLeft(done)) return JSON.stringify(done.left)
  const names = await below(results)
  const files = await Promise.all(
    names.map(async (n) => {
      const file = path.join(results, n)
      return (await fs.stat(file)).isFile() ? (await fs.readFile(file)).toString('base64') : ''
    }),
  )
  return JSON.stringify([told, done.right.metrics, done.right.answers, names, files])
}

const views: ReadonlyArray<View> = [
  (plan) => JSON.stringify([plan.shapes, plan.data?.samples, plan.data?.texts]),
  (plan) => print(plan.program),
  steps,
  (plan) => (plan.budget === null ? '' : (fitIssue(fitOf(plan, plan.budget))?.message ?? '')),
  // How a label is read out of an answer.
  ({ config: c, data }) => {
    const f = extracted(c)
    const classes = f === null ? [] : classesOf(f, data?.texts ?? [])
    return JSON.stringify([
      classes,
      f && ['', 'a', 'it is ABOUT 1'].map((x) => labelIn(f, classes, x)),
    ])
  },
  // What `choose` is asked for.
  ({ config: c }) => c.compiler.backend,
  trained,
]

export interface Seen {
  /** What was refused and noted. */
  readonly said: string
  readonly notices: ReadonlyArray<string>
  /** Null: refused. The n-th view, made when it is first asked for. */
  readonly view: ((n: number) => Promise<string>) | null
}

export const observe = (folder: string, doc: unknown): Seen => {
  const parsed = parseConfig(stringify(doc), { file: 'job.yaml' })
  if (E.isLeft(parsed))
    return { said: parsed.left.map((i) => i.message).join('\n'), notices: [], view: null }
  const notices = parsed.right.notices.map((n) => n.message)
  const planned = pipe(planOf(parsed.right.config, { folder, clock: () => 0 }), E.chain(foresee))
  if (E.isLeft(planned))
    return { said: planned.left.map((i) => i.message).join('\n'), notices, view: null }
  const made = new Map<number, Promise<string>>()
  const view = (n: number): Promise<string> => {
    const known = made.get(n) ?? Promise.resolve(views[n]!(planned.right, folder))
    made.set(n, known)
    return known
  }
  return { said: notices.join('\n'), notices, view }
}

/** Whether two jobs differ in something that a person can see. */
export const differs = async (a: Seen, b: Seen): Promise<boolean> => {
  if (a.said !== b.said || (a.view === null) !== (b.view === null)) return true
  if (a.view === null || b.view === null) return false
  for (let n = 0; n < views.length; n++) if ((await a.view(n)) !== (await b.view(n))) return true
  return false
}
