/** The edges of the command: readers that go away, long command lines, control characters, bytes that are no text. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { bytesOf, tooLongFor } from '../src/command-line.ts'
import { coloured, emphasis, plain } from '../src/report/style.ts'
import { renderIssue } from '../src/report/issues.ts'
import { visible, visibleStyled } from '../src/report/visible.ts'
import { child, here, inFolder, smallJob } from './cli-child.ts'
import { fc, runs } from './fc.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const main = 'src/cli/main.ts'
const bundled = path.join(root, 'examples/code-instructions/base')

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly out: string
  readonly err: string
}

/** A process whose standard input is `input` and whose `closed` streams nobody reads. */
const started = (
  args: ReadonlyArray<string>,
  {
    input = '',
    closed = [],
  }: { readonly input?: string; readonly closed?: ReadonlyArray<'stdout' | 'stderr'> } = {},
): Promise<Ended> =>
  new Promise((resolve) => {
    const env = { ...process.env, NO_COLOR: '1' }
    const run = spawn(process.execPath, ['--import', 'tsx', main, ...args], { cwd: root, env })
    const said = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      if (closed.includes(name)) run[name].destroy()
      else run[name].setEncoding('utf8').on('data', (text: string) => (said[name] += text))
    }
    run.stdin.end(input)
    run.on('close', (code, signal) => resolve({ code, signal, out: said.stdout, err: said.stderr }))
  })

test('a run whose output nobody reads any more is finished all the same', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    await fs.copyFile(
      path.join(bundled, 'model.safetensors'),
      path.join(folder, 'base/model.safetensors'),
    )
    const out = path.join(folder, 'results')
    const args = ['train', job, '--output-directory', out]
    const ended = await started(args, { closed: ['stdout', 'stderr'] })
    assert.deepEqual([ended.code, ended.signal], [0, null])
    const weights = path.join(out, 'experiment_run/model/model_weights')
    assert.ok((await fs.readdir(weights)).includes('adapter_model.safetensors'))
  })
})

test('what fails, fails without a reader too', async () => {
  const ended = await started(['check', 'nowhere.yaml'], { closed: ['stderr'] })
  assert.equal(ended.code, 1)
})

test('a command line that would crash onnxruntime is refused, and a file or standard input goes round it', async () => {
  assert.equal(bytesOf(['ab', 'é', '']), 3 + 3 + 1)
  assert.equal(tooLongFor(['x'.repeat(16383)]), null)
  assert.match(tooLongFor(['x'.repeat(16384)]) ?? '', /16385 bytes/)
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    await fs.copyFile(
      path.join(bundled, 'model.safetensors'),
      path.join(folder, 'base/model.safetensors'),
    )
    const ask = ['generate', job, '--backend', 'onnx', '--max-new-tokens', '1']
    const long = 'x'.repeat(60_000)
    const refused = await started([...ask, '--prompt', long])
    assert.deepEqual([refused.code, refused.signal], [1, null])
    assert.match(refused.err, /onnxruntime crashes on more than[^]*--prompt-file/)
    const file = path.join(folder, 'prompt.txt')
    await fs.writeFile(file, `${long}\n`)
    const [fromFile, fromInput] = [
      await started([...ask, '--prompt-file', file]),
      await started([...ask, '--prompt-file', '-'], { input: `${long}\n` }),
    ]
    assert.deepEqual([fromFile.code, fromInput.code], [0, 0], fromFile.err)
    assert.equal(fromFile.out, fromInput.out)
  })
})

test('one prompt, one way to give it; a file that is none', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    for (const args of [
      [],
      ['--prompt', 'a', '--prompt-file', 'b'],
      ['--prompt', 'a', '--dataset', 'b'],
    ]) {
      const { code, err } = await here('generate', job, ...args)
      assert.equal(code, 1)
      assert.match(err, /give one of --prompt, --prompt-file and --dataset/)
    }
    const file = path.join(folder, 'latin.txt')
    await fs.writeFile(file, Buffer.from('caf\u00e9', 'latin1'))
    assert.match((await here('generate', job, '--prompt-file', file)).err, /not UTF-8/)
    assert.match((await here('generate', job, '--prompt-file', 'nowhere')).err, /no such file/)
  })
})

/** What a terminal obeys, or what turns text around, by number. */
const ranges: ReadonlyArray<readonly [number, number]> = [
  [0x00, 0x08],
  [0x0b, 0x1f],
  [0x7f, 0x9f],
  [0x61c, 0x61c],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2066, 0x2069],
  [0xd800, 0xdfff],
]
const obeyed = (text: string): boolean =>
  [...text].some((c) => ranges.some(([a, b]) => c.codePointAt(0)! >= a && c.codePointAt(0)! <= b))

test('text is shown without anything that a terminal obeys, and JSON stays the same JSON', () => {
  for (let code = 0; code < 0x10000; code++) {
    const char = String.fromCharCode(code)
    assert.ok(!obeyed(visible(`a${char}b`)), code.toString(16))
    if (!obeyed(char)) assert.equal(visible(char), char)
  }
  const text = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.deepEqual(JSON.parse(visible(JSON.stringify({ [a]: b }))), { [a]: b })
      const styled = `${coloured.red(coloured.bold(a))}\n${coloured.dim(b)}`
      assert.ok(!obeyed(visibleStyled(styled, emphasis).replaceAll(emphasis, '')))
    }),
    runs(300),
  )
  assert.equal(visibleStyled(coloured.red('a\u001b[2Jb'), emphasis), coloured.red('a\\u001b[2Jb'))
})

test('control characters of YAML, data, names and arguments do not reach the terminal', async () => {
  await inFolder(async (folder) => {
    const evil = '\u001b]0;owned\u0007\u009b31m\r\u202e'
    const job = await smallJob(folder)
    const text = await fs.readFile(job, 'utf8')
    const escaped = JSON.stringify(evil).slice(1, -1).replaceAll('\u009b', '\\u009b')
    const inYaml = path.join(folder, 'keys.yaml')
    await fs.writeFile(
      inYaml,
      text.replace('name: instruction', `name: "${escaped}", "x${escaped}": 1`),
    )
    const raw = path.join(folder, 'raw.yaml')
    await fs.writeFile(raw, text.replace('epochs: 1', `epochs: \u009b31m # \u202e`))
    const inData = path.join(folder, 'data.csv')
    await fs.appendFile(inData, `"${evil}","${evil}"\n"${evil.repeat(9)}",\n`)
    const named = path.join(folder, `${evil.replaceAll('/', '')}.yaml`)
    await fs.writeFile(named, 'model_type: nonsense\n')
    for (const args of [
      ['check', inYaml],
      ['check', raw],
      ['check', job],
      ['check', named],
      ['check', job, '--dataset', `${named}.csv`],
      ['check', job, `--${evil}`],
      [evil],
    ]) {
      const { out, err } = await child([main, ...args])
      assert.ok(!obeyed(out) && !obeyed(err), JSON.stringify(out + err))
      assert.ok((out + err).length > 0)
    }
  })
})

test('a config that is not UTF-8 is refused with its line', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    const text = await fs.readFile(job, 'utf8')
    const line = text.split('\n').length
    await fs.writeFile(
      job,
      Buffer.concat([Buffer.from(text), Buffer.from('# caf\u00e9\n', 'latin1')]),
    )
    const { code, err } = await here('check', job)
    assert.equal(code, 1)
    assert.match(err, new RegExp(`the file is not UTF-8[^]*job\\.yaml:${line}`))
    await fs.writeFile(job, Buffer.from(`\ufeff${text}`, 'utf16le'))
    assert.match((await here('check', job)).err, /the file is UTF-16/)
    await fs.writeFile(job, `\ufeff${text}`)
    assert.equal((await here('check', job)).code, 0)
  })
})

test('of a long line the part around the place is shown, with the caret below it', () => {
  const [before, after] = ['a'.repeat(5000), 'b'.repeat(5000)]
  const line = `${before} here ${after}`
  const shown = renderIssue({ message: 'm', file: 'f', line: 1, column: 5002 }, () => line, plain)
  const [body, caret] = shown.slice(2)
  assert.ok(body!.length < 200 && body!.includes(' here '))
  assert.equal(caret!.indexOf('^^^^'), body!.indexOf('here'))
  const short = renderIssue({ message: 'm', file: 'f', line: 1, column: 3 }, () => 'k: v', plain)
  assert.deepEqual(short.slice(2), ['  1 | k: v', '    |   ^'])
})
