/** A model behind HTTP until a signal: what was begun is ended first. */
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, one, type Issues } from '../issue.ts'
import { serverOf } from '../serve/http.ts'
import type { Service } from '../serve/service.ts'
import { numberOf, textOf, type Options } from './command.ts'
import type { Terminal } from './terminal.ts'

const BODY = 4e6
const PORT = 8000

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
const untilStopped = (server: http.Server, m: Service, t: Terminal): Promise<void> =>
  new Promise((resolve) => {
    let asked = false
    const stop = (): void => {
      if (asked) process.exit(130)
      asked = true
      const { running, waiting } = m.counts()
      t.note(
        running + waiting === 0
          ? 'stopping'
          : `stopping after ${running + waiting} answers; once more to quit at once`,
      )
      const closed = new Promise((done) => server.close(done))
      server.closeIdleConnections()
      void Promise.all([m.close(), closed]).then(() => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
        resolve()
      })
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  })

/** Serves until it is told to stop. */
export const serve =
  (m: Service, o: Options, t: Terminal): TE.TaskEither<Issues, void> =>
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
    t.status(null)
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
      `${m.name} answers at http://${family === 'IPv6' ? `[${address}]` : address}:${port}: POST ${[...Object.keys(m.posts), '/predict'].join(', ')}`,
    )
    t.note(t.noteStyle.dim('ctrl-C stops'))
    await untilStopped(server, m, t)
    return E.right(undefined)
  }
