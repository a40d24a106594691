/** `tunec serve` as its users see it: through the public OpenAI client, curl's forms, and ctrl-C. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { child, here, inFolder } from './cli-child.ts'
import { clientOf, type Client, type Refused } from './openai-client.ts'
import { serving, writeJob, type Serving } from './serve-here.ts'

const model = 'tiny'

const withServer = (
  body: (client: Client, s: Serving, job: string) => Promise<void>,
  ...options: ReadonlyArray<string>
): Promise<void> =>
  inFolder(async (folder) => {
    const job = await writeJob(folder)
    const s = await serving(job, ...options)
    const client = await clientOf({ apiKey: 'none', baseURL: `${s.url}/v1`, maxRetries: 0 })
    try {
      await body(client, s, job)
    } finally {
      s.interrupt()
      assert.equal(await s.stopped, 0)
    }
  })

const refused = async (request: Promise<unknown>): Promise<Refused> => {
  try {
    await request
  } catch (e) {
    return e as Refused
  }
  return assert.fail('it was answered')
}

const user = (content: unknown) => [{ role: 'user', content }]

/** What `tunec generate` answers. */
const generated = async (job: string, prompt: string): Promise<string> => {
  const ran = await here('generate', job, '--prompt', prompt, '--backend', 'reference')
  assert.equal(ran.code, 0, ran.err)
  return ran.out.replace(/\n$/, '')
}

test('chat and completions answer as generate does, whole and streamed, alone and many at once', () =>
  withServer(async (client, _, job) => {
    const say = 'add two numbers'
    const prompt = `Q: ${say} A:`
    const expected = await generated(job, prompt)
    const ask = { model, messages: user(say) }
    const whole = await client.chat.completions.create(ask)
    assert.equal(whole.object, 'chat.completion')
    assert.equal(whole.choices[0]!.message.content, expected)
    assert.equal(whole.choices[0]!.message.role, 'assistant')
    assert.equal(whole.choices[0]!.finish_reason, 'length')
    assert.deepEqual(whole.usage, { prompt_tokens: 22, completion_tokens: 8, total_tokens: 30 })

    const ends: Array<string> = []
    let [text, roles, tally]: [string, number, unknown] = ['', 0, null]
    const stream = await client.chat.completions.create({
      ...ask,
      stream: true as const,
      stream_options: { include_usage: true },
    })
    for await (const chunk of stream) {
      assert.equal(chunk.object, 'chat.completion.chunk')
      const [choice] = chunk.choices
      if (choice === undefined) tally = chunk.usage
      if (choice?.delta.role === 'assistant') roles++
      text += choice?.delta.content ?? ''
      if (typeof choice?.finish_reason === 'string') ends.push(choice.finish_reason)
    }
    assert.deepEqual([text, roles, ends], [expected, 1, ['length']])
    assert.deepEqual(tally, whole.usage)

    const parts = user([
      { type: 'text', text: 'add two ' },
      { type: 'text', text: 'numbers' },
    ])
    const all = await Promise.all([
      ...Array.from({ length: 5 }, () =>
        client.completions.create({ model, prompt, max_tokens: 8 }),
      ),
      client.chat.completions.create({ model, messages: parts }),
    ])
    for (const one of all) {
      const [choice] = one.choices
      assert.equal('text' in choice! ? choice.text : choice!.message.content, expected)
    }
  }))

test("the example asks a served model with OpenAI's own client", () =>
  withServer(async (_, { url }) => {
    const { code, out, err } = await child(['examples/openai-client.mjs', 'add two numbers', `${url}/v1`])
    assert.equal(code, 0, err)
    assert.match(out, /\(tiny: 22 tokens asked, 8 answered\)[^]*\(4 at once: \d+ tokens in \d+ ms\)/)
  })) // prettier-ignore

test('prompts in lists, ids, echo, n, stop, seed and max_tokens mean what they mean at OpenAI', () =>
  withServer(async (client, _, job) => {
    const create = client.completions.create.bind(client.completions) as typeof client.completions.create
    const [a, b] = [await generated(job, 'abc'), await generated(job, 'xyz')]
    const two = await create({ model, prompt: ['abc', 'xyz'], max_tokens: 8, echo: true })
    assert.deepEqual(two.choices.map((c) => c.text), [`abc${a}`, `xyz${b}`])
    assert.deepEqual(two.choices.map((c) => c.index), [0, 1])
    assert.deepEqual(two.usage, { prompt_tokens: 8, completion_tokens: 16, total_tokens: 24 })

    // The vocabulary begins with three special tokens and the printable bytes.
    const ids = [1, ...[...'abc'].map((c) => c.charCodeAt(0) - '!'.charCodeAt(0) + 3)]
    const one = await create({ model, prompt: ids, max_tokens: 8, echo: true })
    assert.equal(one.choices[0]!.text, `abc${a}`)
    assert.equal(one.usage!.prompt_tokens, 4)

    const usual = await create({ model, prompt: 'abc' })
    assert.equal(usual.usage!.completion_tokens, 16, "the real one's own limit")

    const stop = a.slice(3, 5)
    const cut = await create({ model, prompt: 'abc', max_tokens: 8, stop: ['never', stop] })
    assert.equal(cut.choices[0]!.text, a.slice(0, a.indexOf(stop)))
    assert.equal(cut.choices[0]!.finish_reason, 'stop')

    const drawn = { model, prompt: 'abc', max_tokens: 6, temperature: 1.5, top_p: 0.9, n: 3 }
    const [x, y, z] = await Promise.all([
      create({ ...drawn, seed: 7 }),
      create({ ...drawn, seed: 7 }),
      create({ ...drawn, seed: 8 }),
    ])
    const texts = (c: typeof x): ReadonlyArray<string> => c.choices.map((k) => k.text)
    assert.deepEqual(texts(x), texts(y))
    assert.notDeepEqual(texts(x), texts(z))
    assert.equal(new Set(texts(x)).size, 3)

    const streamed = new Map<number, string>()
    const stream = await create({ ...drawn, seed: 7, stream: true as const })
    for await (const { choices } of stream)
      for (const { index, text } of choices) streamed.set(index, (streamed.get(index) ?? '') + text)
    assert.deepEqual([0, 1, 2].map((i) => streamed.get(i)), texts(x))

    const bias = { [String(ids[1])]: 100 }
    const biased = await create({ model, prompt: 'abc', max_tokens: 4, logit_bias: bias })
    assert.equal(biased.choices[0]!.text, 'aaaa')
    const fresh = await create({ model, prompt: 'abc', max_tokens: 8, frequency_penalty: 2, presence_penalty: 2 })
    assert.equal(typeof fresh.choices[0]!.text, 'string')
  })) // prettier-ignore

test('probabilities come when they are asked for, and their sum over the likeliest tells the choice', () =>
  withServer(async (client) => {
    const ask = { model, messages: user('x'), max_tokens: 3, logprobs: true, top_logprobs: 2 }
    type Content = ReadonlyArray<{ token: string; logprob: number; bytes: unknown; top_logprobs: ReadonlyArray<{ token: string; logprob: number }> }>
    type WithScores = { logprobs: { content: Content } | null }
    const whole = await client.chat.completions.create(ask)
    const { content } = (whole.choices[0] as unknown as WithScores).logprobs!
    assert.equal(content.length, 3)
    for (const c of content) {
      assert.equal(c.top_logprobs.length, 2)
      assert.deepEqual([c.token, c.logprob], [c.top_logprobs[0]!.token, c.top_logprobs[0]!.logprob], 'the likeliest was taken')
      assert.ok(c.logprob < 0 && c.top_logprobs[1]!.logprob <= c.logprob)
    }
    const streamed: Array<Content[number]> = []
    const stream = await client.chat.completions.create({ ...ask, stream: true as const })
    for await (const { choices } of stream)
      streamed.push(...((choices[0] as unknown as WithScores).logprobs?.content ?? []))
    assert.deepEqual(streamed, content)
    const plain = await client.chat.completions.create({ model, messages: user('x') })
    assert.equal((plain.choices[0] as unknown as WithScores).logprobs, null)

    const text = await client.completions.create({ model, prompt: 'abc', max_tokens: 4, logprobs: 1, logit_bias: { 67: 100 } })
    const said = (text.choices[0] as unknown as { logprobs: { tokens: unknown; token_logprobs: ReadonlyArray<number>; top_logprobs: ReadonlyArray<object>; text_offset: unknown } }).logprobs
    assert.deepEqual(said.tokens, ['a', 'a', 'a', 'a'])
    assert.deepEqual(said.text_offset, [0, 1, 2, 3])
    assert.equal(said.top_logprobs.length, 4)
    assert.ok(said.token_logprobs.every((p) => p < -0.01), 'of the model, not of the bias')
    const top = await refused(client.chat.completions.create({ ...ask, logprobs: false }))
    assert.equal(top.param, 'top_logprobs')
    const echo = await refused(client.completions.create({ model, prompt: 'a', echo: true, logprobs: 1 }))
    assert.equal(echo.param, 'logprobs')
  })) // prettier-ignore

test('refusals have the status, code and parameter that the real API gives', () =>
  withServer(async (client) => {
    const { chat, completions, models } = client
    const messages = user('x')
    const cases: ReadonlyArray<readonly [Record<string, unknown>, number, string | null, string | null, RegExp]> = [
      [{ messages }, 400, 'missing_required_parameter', 'model', /Missing required parameter/],
      [{ model: 'gpt', messages }, 404, 'model_not_found', null, /The model `gpt` does not exist/],
      [{ model }, 400, 'missing_required_parameter', 'messages', /'messages'/],
      [{ model, messages: [] }, 400, 'empty_array', 'messages', /empty array/],
      [{ model, messages: 'x' }, 400, 'invalid_type', 'messages', /expected an array/],
      [{ model, messages: [{ role: 'robot', content: 'x' }] }, 400, 'invalid_value', 'messages[0].role', /Supported values are/],
      [{ model, messages: [{ role: 'system', content: 'x' }, ...messages] }, 400, 'unsupported_value', 'messages', /one message with the role 'user'/],
      [{ model, messages: user([{ type: 'image_url' }]) }, 400, 'invalid_value', 'messages[0].content', /type 'text'/],
      [{ model, messages, temperature: 3 }, 400, 'decimal_above_max_value', 'temperature', /<= 2, but got 3/],
      [{ model, messages, n: 0 }, 400, 'integer_below_min_value', 'n', />= 1, but got 0/],
      [{ model, messages, top_p: 'high' }, 400, 'invalid_type', 'top_p', /but got a string/],
      [{ model, messages, stop: ['a', 'b', 'c', 'd', 'e'] }, 400, 'array_above_max_length', 'stop', /maximum length 4/],
      [{ model, messages, tools: [{}] }, 400, 'unsupported_parameter', 'tools', /not supported with this model/],
      [{ model, messages, tempreature: 1 }, 400, 'unknown_parameter', 'tempreature', /Unknown parameter/],
      [{ model, messages, stream_options: { include_usage: true } }, 400, null, 'stream_options', /only allowed when 'stream'/],
      [{ model, messages, logit_bias: { 9999: 1 } }, 400, null, 'logit_bias', /9999/],
      [{ model, messages: user('x'.repeat(80)) }, 400, 'context_length_exceeded', 'messages', /maximum context length is 64 tokens/],
      [{ model, messages, max_tokens: 60 }, 400, 'context_length_exceeded', 'messages', /you requested \d+ tokens/],
    ] // prettier-ignore
    for (const [fields, status, code, param, message] of cases) {
      const e = await refused(chat.completions.create(fields))
      assert.deepEqual([e.status, e.code, e.param], [status, code, param], JSON.stringify(fields))
      assert.match(e.message, message)
      assert.equal(e.type, 'invalid_request_error')
    }
    const wrong = [
      [{ model }, 'missing_required_parameter'],
      [{ model, prompt: [] }, 'empty_array'],
      [{ model, prompt: [[1], {}] }, 'invalid_type'],
      [{ model, prompt: [1, 99999] }, null],
      [{ model, prompt: 'x', best_of: 3 }, 'unsupported_value'],
      [{ model, prompt: 'x', suffix: 'y' }, 'unsupported_parameter'],
    ] as const
    for (const [fields, code] of wrong) {
      const e = await refused(completions.create(fields))
      assert.deepEqual([e.status, e.code], [400, code], JSON.stringify(fields))
    }
    // Null, and what asks for nothing, is taken.
    const idle = {
      tools: [],
      logprobs: false,
      temperature: null,
      response_format: { type: 'text' },
    }
    await chat.completions.create({ model, messages, user: 'me', ...idle })
    assert.deepEqual(
      (await models.list()).data.map((m) => m.id),
      [model],
    )
    assert.equal((await models.retrieve(model)).id, model)
    assert.equal((await refused(models.retrieve('gpt'))).code, 'model_not_found')
  }))

const post = (url: string, body: string, type = 'application/json'): Promise<Response> =>
  fetch(url, { method: 'POST', body, headers: { 'content-type': type } })

test('paths, methods and bodies that are none are refused in the same form', () =>
  withServer(
    async (_, { url }) => {
      const said = async (r: Response) => {
        const { error } = (await r.json()) as { error: { message: string; type: string } }
        assert.equal(error.type, 'invalid_request_error')
        return [r.status, error.message] as const
      }
      const at = (path: string) => `${url}${path}`
      assert.match((await said(await fetch(at('/v1/nothing'))))[1], /Invalid URL \(GET \/v1\/nothing\)/)
      assert.equal((await said(await post(at('/v1/embeddings'), '{}')))[0], 404)
      assert.equal((await said(await fetch(at('/v1/completions'))))[0], 405)
      assert.equal((await said(await post(at('/v1/models'), '{}')))[0], 405)
      for (const body of ['', '{', '[1]', '"x"'])
        assert.match((await said(await post(at('/v1/completions'), body)))[1], /could not parse the JSON/)
      assert.equal((await said(await post(at('/v1/completions'), `"${'x'.repeat(2000)}"`)))[0], 413)
      assert.equal((await fetch(at('/'))).status, 200)
      assert.deepEqual(await (await fetch(at('/health'))).json(), { status: 'ok', running: 0, waiting: 0 })
    },
    '--max-body',
    '1KB',
  )) // prettier-ignore

const columns = ['predictions', 'response', 'probabilities', 'probability'].map(
  (c) => `output_${c}`,
)

test("Ludwig's /predict and /batch_predict take columns and give its names", () =>
  withServer(async (_, { url }, job) => {
    const [a, b] = [await generated(job, 'Q: one A:'), await generated(job, 'Q: two A:')]
    const form = new FormData()
    form.set('instruction', 'one')
    const multi = await fetch(`${url}/predict`, { method: 'POST', body: form })
    const encoded = 'application/x-www-form-urlencoded'
    const plain = await post(`${url}/predict`, 'instruction=one&more=1', encoded)
    for (const r of [multi, plain]) {
      const row = (await r.json()) as Record<string, unknown>
      assert.deepEqual(Object.keys(row), columns)
      const each = row['output_probabilities'] as ReadonlyArray<number>
      assert.ok(each.length === 8 && each.every((p) => p > 0 && p <= 1))
      const sum = each.reduce((n, p) => n + Math.log(p), 0)
      assert.ok(Math.abs(sum - (row['output_probability'] as number)) < 1e-9)
      assert.equal(row['output_response'], a)
      assert.equal((row['output_predictions'] as ReadonlyArray<string>).length, 8)
    }
    const table = { columns: ['instruction'], index: [4, 9], data: [['one'], ['two']] }
    const batch = new FormData()
    batch.set('dataset', JSON.stringify(table))
    const answered = (await (
      await fetch(`${url}/batch_predict`, { method: 'POST', body: batch })
    ).json()) as { index: unknown; columns: unknown; data: ReadonlyArray<ReadonlyArray<unknown>> }
    assert.deepEqual(answered.index, [4, 9])
    assert.deepEqual(answered.columns, columns)
    const long = Array.from({ length: 7 }, (_, i) => [i % 2 === 0 ? 'one' : 'two'])
    batch.set('dataset', JSON.stringify({ columns: ['instruction'], data: long }))
    const many = (await (
      await fetch(`${url}/batch_predict`, { method: 'POST', body: batch })
    ).json()) as { index: unknown; data: ReadonlyArray<ReadonlyArray<unknown>> }
    assert.deepEqual(many.index, [0, 1, 2, 3, 4, 5, 6])
    assert.deepEqual(
      many.data.map((row) => row[1]),
      [a, b, a, b, a, b, a],
    )
    assert.deepEqual(
      answered.data.map((row) => row[1]),
      [a, b],
    )
    const wrong = async (path: string, body: string, type = encoded) => {
      const r = await post(`${url}${path}`, body, type)
      return [r.status, ((await r.json()) as { error: string }).error] as const
    }
    assert.deepEqual(await wrong('/predict', 'other=1'), [
      400,
      'Data received does not contain all input features. Missing features: instruction.',
    ])
    assert.match((await wrong('/predict', '{}', 'application/json'))[1], /expected a form/)
    assert.match((await wrong('/predict', `instruction=${'x'.repeat(99)}`))[1], /have 64 together/)
    assert.match((await wrong('/batch_predict', 'dataset=[]'))[1], /must be JSON with `columns`/)
  }))

test('a full queue says when to ask again, a key is asked for, origins are those that were named', async () => {
  process.env['TUNEC_API_KEY'] = 'secret'
  try {
    await withServer(
      async (_, { url }) => {
        const ask = (body: object, key: string | null = 'secret', origin?: string) =>
          fetch(`${url}/v1/completions`, {
            method: 'POST',
            body: JSON.stringify({ model, prompt: 'abc', ...body }),
            headers: {
              ...(key === null ? {} : { authorization: `Bearer ${key}` }),
              ...(origin === undefined ? {} : { origin }),
            },
          })
        assert.equal((await ask({}, null)).status, 401)
        assert.equal((await ask({}, 'wrong')).status, 401)
        const many = await Promise.all(Array.from({ length: 8 }, () => ask({ max_tokens: 50 })))
        const full = many.filter((r) => r.status === 503)
        assert.ok(full.length > 0 && full.length < 8)
        assert.equal(full[0]!.headers.get('retry-after'), '1')
        assert.equal((await ask({ n: 9 })).status, 400, 'more than can ever wait')
        const [own, other] = [await ask({}, 'secret', 'http://a'), await ask({}, 'secret', 'http://b')]
        assert.equal(own.headers.get('access-control-allow-origin'), 'http://a')
        assert.equal(other.headers.get('access-control-allow-origin'), null)
      },
      '--queue', '2', '--allowed-origins', 'http://a',
    ) // prettier-ignore
  } finally {
    delete process.env['TUNEC_API_KEY']
  }
})

test('ctrl-C lets what was begun end and takes nothing more; a client that leaves frees its slot', () =>
  inFolder(async (folder) => {
    const s = await serving(await writeJob(folder))
    const leaving = new AbortController()
    const body = JSON.stringify({ model, prompt: 'abc', max_tokens: 50, stream: true })
    const ask = (signal?: AbortSignal): Promise<Response> =>
      fetch(`${s.url}/v1/completions`, { method: 'POST', body, ...(signal ? { signal } : {}) })
    const left = await ask(leaving.signal)
    await left.body!.getReader().read()
    leaving.abort()
    const counts = async () =>
      (await (await fetch(`${s.url}/health`)).json()) as { running: number }
    while ((await counts()).running > 0);
    const staying = await ask()
    s.interrupt()
    const text = await staying.text()
    assert.match(text, /"finish_reason":"length"/)
    assert.ok(text.endsWith('data: [DONE]\n\n'))
    assert.equal(await s.stopped, 0)
    assert.match(s.notes.join('\n'), /stopping after 1 answer/)
    await assert.rejects(ask())
  }))

test('a port that is taken, and a context that the model has not, are said before anything is served', () =>
  withServer(async (_, { url }, job) => {
    const ran = await here('serve', job, '--port', new URL(url).port, '--backend', 'reference')
    assert.equal(ran.code, 1)
    assert.match(ran.err, /cannot listen on 127\.0\.0\.1/)
    const long = await here('serve', job, '--context', '500')
    assert.match(long.err, /--context is 500, and the model was made for 128 tokens/)
  }))
