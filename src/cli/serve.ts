/** `tunec serve`: a fine-tuned model, or a base as it is, behind HTTP until it is told to stop. */
import { randomBytes, randomInt } from 'node:crypto'
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { optionsOf, type Grid } from '../generate/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import type { Plan } from '../plan/plan.ts'
import { openEngine } from '../serve/engine.ts'
import { serverOf } from '../serve/http.ts'
import type { Served } from '../serve/model.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { deviceHere } from './card.ts'
import { numberOf, textOf, type Options, type Run } from './command.ts'
import { engineFor } from './engine.ts'
import { tokenizerOf, withoutData } from './generate.ts'
import { refuse } from './open.ts'
import type { Terminal } from './terminal.ts'
import { openTrained, planTrained, withSession, writesNothing } from './trained.ts'

const SLOTS = 8
const CONTEXT = 2048
const QUEUE = 256
const BODY = 4e6
const PORT = 8000

/** Lengths that prompts are taken in: each four times the one before. */
const SHORTEST = 32

const widthsBelow = (most: number): ReadonlyArray<number> => {
  const widths: Array<number> = []
  for (let n = SHORTEST; n < most; n *= 4) widths.push(n)
  return widths
}

const gridIn = (plan: Plan, o: Options): E.Either<Issues, Grid> => {
  const most = plan.base.spec.context
  const asked = numberOf(o, 'context') ?? Math.min(most, CONTEXT)
  return asked <= most
    ? E.right({
        batch: numberOf(o, 'slots') ?? SLOTS,
        prompt: asked,
        capacity: asked,
        shorter: widthsBelow(asked),
      })
    : E.left(one(issue(`--context is ${asked}, and the model was made for ${most} tokens`)))
}

const servedOf = (
  name: string,
  plan: Plan,
  tokenizer: Tokenizer,
  grid: Grid,
  session: Session,
  o: Options,
): Served => {
  const seconds = (): number => Math.floor(Date.now() / 1000)
  return {
    name: textOf(o, 'name') ?? path.basename(path.resolve(name)).replace(/\.ya?ml$/, ''),
    created: seconds(),
    fingerprint: `fp_${randomBytes(5).toString('hex')}`,
    config: plan.config,
    tokenizer,
    options: optionsOf(plan.config, plan.base.spec, tokenizer),
    context: grid.capacity,
    engine: openEngine(session, grid, numberOf(o, 'queue') ?? QUEUE),
    seed: () => randomInt(2 ** 32),
    id: (kind) => `${kind}-${randomBytes(12).toString('hex')}`,
    seconds,
  }
}

const listening = (
  server: http.Server,
  port: number,
  host: string,
): TE.TaskEither<Issues, AddressInfo> =>
  TE.tryCatch(
    () =>
      new Promise<AddressInfo>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, () => resolve(server.address() as AddressInfo))
      }),
    (e) =>
      one(
        issue(`cannot listen on ${host}, port ${port}: ${e instanceof Error ? e.message : e}`, {
          hint: 'another port can be named with --port',
        }),
      ),
  )

/** Addresses that only this machine reaches. */
const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host.startsWith('127.')

/** Runs until a signal: then what was taken is answered, and a second signal quits at once. */
const untilStopped = (server: http.Server, m: Served, t: Terminal): Promise<void> =>
  new Promise((resolve) => {
    let asked = false
    const stop = (): void => {
      if (asked) process.exit(130)
      asked = true
      const { running, waiting } = m.engine.counts()
      t.note(
        running + waiting === 0
          ? 'stopping'
          : `stopping after ${running + waiting} answers; once more to quit at once`,
      )
      const closed = new Promise((done) => server.close(done))
      server.closeIdleConnections()
      void Promise.all([m.engine.close(), closed]).then(() => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
        resolve()
      })
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  })

const serve =
  (m: Served, o: Options, t: Terminal): TE.TaskEither<Issues, void> =>
  async () => {
    const [host, key] = [textOf(o, 'host')!, process.env['TUNEC_API_KEY'] ?? '']
    const time = numberOf(o, 'predictionTimeout')
    const server = serverOf(
      m,
      { body: numberOf(o, 'maxBody') ?? BODY, time: time === undefined ? null : time * 1000 },
      {
        origins: (textOf(o, 'allowedOrigins') ?? '').split(',').flatMap((s) => s.trim() || []),
        key: key === '' ? null : key,
      },
      (e) => t.note(`this is a bug in tunec: ${e instanceof Error ? e.message : String(e)}`),
    )
    const at = await listening(server, numberOf(o, 'port') ?? PORT, host)()
    if (E.isLeft(at)) return at
    const { address, family, port } = at.right
    if (!isLoopback(host) && key === '')
      t.note(
        t.noteStyle.yellow(
          `! ${host} may be reached from other machines, and TUNEC_API_KEY names no key to ask for`,
        ),
      )
    t.out(
      `${m.name} answers at http://${family === 'IPv6' ? `[${address}]` : address}:${port}: POST /v1/chat/completions, /v1/completions, /predict`,
    )
    if (m.options.beams !== undefined)
      t.note(
        t.noteStyle.yellow(
          'note: served answers are single sequences: generation.num_beams has no effect here',
        ),
      )
    t.note(t.noteStyle.dim('ctrl-C stops'))
    await untilStopped(server, m, t)
    return E.right(undefined)
  }

export const run: Run = async (name, o, t) => {
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const trained = found.right
  const silent = writesNothing(trained)
  if (silent !== null) return refuse([silent], t)
  const device = await deviceHere(trained.config, o)
  const opened = pipe(
    E.Do,
    E.bind('plan', () => planTrained(withoutData(trained, o), t, device)),
    E.bind('tokenizer', ({ plan }) => tokenizerOf(plan)),
    E.bind('grid', ({ plan }) => gridIn(plan, o)),
    E.bind('program', ({ plan, grid }) =>
      pipe(
        askingProgram(
          plan.base,
          plan.techniques,
          { ...plan.shapes, generate: grid },
          generationNames(grid),
        ),
        E.map((c) => c.program),
      ),
    ),
  )
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const { plan, tokenizer, grid, program } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return refuse(backend.left, t)
  t.status('loading the model')
  const done = await withSession(backend.right, plan, program, trained, (session) => {
    t.status(null)
    return serve(servedOf(name, plan, tokenizer, grid, session, o), o, t)
  })()
  t.status(null)
  return E.isLeft(done) ? refuse(done.left, t) : 0
}
