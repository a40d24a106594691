/** Breaks the compiler on purpose, one small change at a time in a copy of the tree: the tests must notice every one. */
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Mutation } from './mutation.ts'
import { mutations } from './mutations.ts'

const root = path.resolve(import.meta.dirname, '..')
const folders = [
  'ir',
  'passes',
  'backends',
  'src',
  'test',
  'package.json',
  'tsconfig.json',
  // What tests make their models of.
  'examples/code-instructions/base/tokenizer.json',
  'examples/code-instructions/random.ts',
  'examples/result-type',
]
/** Of the fixtures, the files these tests read. */
const wanted = (from: string): boolean => {
  const [, , inside] = path.relative(root, from).split(path.sep)
  return (
    !from.includes(`${path.sep}fixtures${path.sep}`) ||
    [
      'nf4_test_vectors.json',
      'adapters',
      'generate',
      'golden',
      'optimizers',
      'retrieval',
      'tokenizer',
      'train',
    ].includes(inside ?? '')
  )
}

const copyTree = async (): Promise<string> => {
  const to = await fs.mkdtemp(path.join(os.tmpdir(), 'mutate-'))
  for (const f of folders)
    await fs.cp(path.join(root, f), path.join(to, f), { recursive: true, filter: wanted })
  await fs.symlink(path.join(root, 'node_modules'), path.join(to, 'node_modules'))
  return to
}

type Outcome = 'passes' | 'fails' | 'does not parse'

/** What a test file says in a copy; stopped at the first failure. */
const outcome = (copy: string, test: string): Promise<Outcome> =>
  new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--test', '--test-reporter=tap', path.join('test', `${test}.test.ts`)],
      { cwd: copy, env: { ...process.env, SHRINK: '0' }, detached: true },
    )
    let text = ''
    const read = (chunk: Buffer): void => {
      text += chunk.toString()
      if (!/^not ok .*\n[^]*\n {2}\.\.\.$/m.test(text)) return
      // The runner's own children too, which the group holds.
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      // A mutation that is no program proves nothing.
      resolve(/TransformError|SyntaxError/.test(text) ? 'does not parse' : 'fails')
    }
    child.stdout.on('data', read)
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
    child.on('close', (code) => resolve(code === 0 ? 'passes' : 'fails'))
  })

/** What became of a mutation: null when it was caught, else why it counts as a failure. */
const survives = async (copy: string, m: Mutation): Promise<string | null> => {
  const file = path.join(copy, m.file)
  const text = await fs.readFile(file, 'utf8')
  const found = text.split(m.from).length - 1
  if (found !== 1) return `its snippet occurs ${found} times in ${m.file}`
  const broken = text.replace(m.from, () => m.to)
  await fs.writeFile(file, broken)
  const said = await outcome(copy, m.test)
  await fs.writeFile(file, text)
  return said === 'fails' ? null : `${m.test} ${said}`
}

interface Job {
  readonly name: string
  readonly run: (copy: string) => Promise<string | null>
}

const intact = [...new Set(mutations.map((m) => m.test))].map((t): Job => ({
  name: `${t} passes when nothing is broken`,
  run: async (copy) => {
    const said = await outcome(copy, t)
    return said === 'passes' ? null : `it ${said}`
  },
}))
const broken = mutations.map((m): Job => ({ name: m.name, run: (copy) => survives(copy, m) }))

const work = async (queue: Job[]): Promise<ReadonlyArray<boolean>> => {
  const copy = await copyTree()
  const results: boolean[] = []
  for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
    const why = await job.run(copy)
    console.log(why === null ? `ok      ${job.name}` : `FAILED  ${job.name}: ${why}`)
    results.push(why === null)
  }
  await fs.rm(copy, { recursive: true, force: true })
  return results
}

const queue = [...intact, ...broken]
const workers = Math.max(1, Math.min(4, os.availableParallelism()))
const results = (await Promise.all(Array.from({ length: workers }, () => work(queue)))).flat()
const failed = results.filter((ok) => !ok).length
console.log(`${results.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
