/** The server whatever it serves: requests that take too long, and what nobody expected. */
import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { serverOf, type Limits } from '../src/serve/http.ts'
import { refusal, type Service } from '../src/serve/service.ts'
import { body } from '../src/serve/openai/reply.ts'

const plain: Service = {
  name: 'm',
  created: 0,
  posts: { '/v1/completions': async () => E.right(body({ said: true })) },
  inputs: ['x'],
  columns: ['y'],
  predict: async (rows) => E.right(rows.map((r) => [r['x']])),
  counts: () => ({ running: 0, waiting: 0 }),
  close: async () => {},
}

const withServer = async (
  more: Partial<Service>,
  limits: Partial<Limits>,
  use: (url: string, bugs: ReadonlyArray<unknown>) => Promise<void>,
): Promise<void> => {
  const bugs: Array<unknown> = []
  const server = serverOf(
    { ...plain, ...more },
    { body: 1000, time: null, ...limits },
    { origins: [], key: null },
    (e) => void bugs.push(e),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, bugs)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

const predict = (url: string, text = 'a'): Promise<Response> =>
  fetch(`${url}/predict`, { method: 'POST', body: new URLSearchParams({ x: text }) })

test('a request that takes too long is stopped and told so', () => {
  const never: Service['predict'] = (_, signal) =>
    new Promise((resolve) =>
      signal.addEventListener('abort', () => resolve(E.left(refusal(504, 'too long')))),
    )
  return withServer({ predict: never }, { time: 5 }, async (url) => {
    const r = await predict(url)
    assert.deepEqual([r.status, await r.json()], [504, { error: 'too long' }])
  })
})

test('a bug is reported to who runs the server, and to the client as its fault, without a trace', () => {
  const broken: Service['predict'] = async () => {
    throw new Error('at /secret/place')
  }
  return withServer({ predict: broken }, {}, async (url, bugs) => {
    const r = await predict(url)
    assert.equal(r.status, 500)
    assert.ok(!(await r.text()).includes('secret'))
    assert.equal(bugs.length, 1)
    assert.equal((await fetch(`${url}/health`)).status, 200, 'it goes on')
  })
})

test('a body that grows beyond the limit is not read to its end', () =>
  withServer({}, { body: 100 }, async (url) => {
    assert.equal((await predict(url)).status, 200)
    assert.equal((await predict(url, 'a'.repeat(200))).status, 413)
    // Without a length it is counted while it comes.
    const chunks = new ReadableStream({
      start: (c) => {
        for (let i = 0; i < 9; i++) c.enqueue(new TextEncoder().encode('x'.repeat(50)))
        c.close()
      },
    })
    const r = await fetch(`${url}/v1/completions`, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit)
    assert.equal(r.status, 413)
  })) // prettier-ignore
