/**
 * A served model asked by OpenAI's own client: an answer as it grows, then several prompts at once. In two terminals:
 *
 *   npx tsx src/cli/main.ts serve results/experiment_run
 *   node examples/openai-client.mjs 'Write a function that adds 12 to its argument.'
 */
import OpenAI from 'openai'

const [
  prompt = 'Write a function that adds 12 to its argument.',
  baseURL = 'http://127.0.0.1:8000/v1',
] = process.argv.slice(2)

const client = new OpenAI({ baseURL, apiKey: process.env.TUNEC_API_KEY ?? 'none' })
const [{ id: model }] = (await client.models.list()).data

const stream = await client.chat.completions.create({
  model,
  messages: [{ role: 'user', content: prompt }],
  stream: true,
  stream_options: { include_usage: true },
})
let usage = null
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? '')
  usage = chunk.usage ?? usage
}
console.log(
  `\n(${model}: ${usage.prompt_tokens} tokens asked, ${usage.completion_tokens} answered)\n`,
)

const begun = performance.now()
const prompts = [
  'Create a list of all multiples of 6 up to 30.',
  'Write a function to check if a number is divisible by 7.',
  'Write code that reverses the list [5, 6, 7].',
  'Repeat the string "echo" 4 times and print it.',
]
const answers = await Promise.all(
  prompts.map((content) =>
    client.chat.completions.create({ model, messages: [{ role: 'user', content }] }),
  ),
)
for (const { choices } of answers) console.log(choices[0].message.content, '\n')
const tokens = answers.reduce((n, a) => n + a.usage.completion_tokens, 0)
console.log(`(4 at once: ${tokens} tokens in ${Math.round(performance.now() - begun)} ms)`)
