/** compute-sanitizer over a part of the conformance suite, or of another: each tool's own count of errors, and the suite's. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { Outcome } from './table.ts'

const root = path.join(import.meta.dirname, '../..')
const SANITIZER = '/usr/local/cuda/bin/compute-sanitizer'

/** Every op's examples, the large ones, and the model in every type; random programs are left out, they say nothing new of a kernel. */
const PATTERN = 'does its examples|dropout over|long packed|a model in'

const options: Readonly<Record<string, ReadonlyArray<string>>> = {
  // Asking for parameters until there are no more ends in an answer that it would count as an error.
  memcheck: ['--leak-check', 'no', '--report-api-errors', 'no'],
  // It also reports reads that an mbarrier of `attention_wgmma.cu` orders, where a thread has waited for another barrier in between.
  racecheck: ['--racecheck-report', 'all'],
  initcheck: [],
}

export interface Summary {
  /** Null: the tool printed none. */
  readonly errors: number | null
  readonly passed: number
  readonly failed: number
}

/** `ERROR SUMMARY: 0 errors`, of racecheck `RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)`; and node's `# pass 3`. */
export const summaryOf = (text: string): Summary => {
  const all = (r: RegExp): ReadonlyArray<number> => [...text.matchAll(r)].map((m) => Number(m[1]))
  const found = [
    ...all(/ERROR SUMMARY: (\d+) errors?/g),
    ...all(/RACECHECK SUMMARY: (\d+) hazards?/g),
  ]
  const sum = (list: ReadonlyArray<number>): number => list.reduce((a, b) => a + b, 0)
  return {
    errors: found.length === 0 ? null : sum(found),
    passed: sum(all(/^[#ℹ] pass (\d+)/gm)),
    failed: sum(all(/^[#ℹ] fail (\d+)/gm)),
  }
}

const commandOf = (tool: string, pattern: string, suite: string): ReadonlyArray<string> => [
  ...[process.env['COMPUTE_SANITIZER'] ?? SANITIZER, '--tool', tool, '--target-processes', 'all'],
  ...(options[tool] ?? []),
  ...[process.execPath, '--import', 'tsx', `--test-name-pattern=${pattern}`],
  path.join('test', `${suite}.test.ts`),
]

/** Seconds after which a tool is stopped. */
const run = (argv: ReadonlyArray<string>, seconds: number): Promise<string> =>
  new Promise((done) => {
    const child = spawn(argv[0]!, argv.slice(1), { cwd: root })
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1e3)
    let text = ''
    for (const s of [child.stdout, child.stderr]) s.on('data', (d) => (text += String(d)))
    child.on('error', (e) => (text += `cannot be started: ${e.message}`))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      done(`${text}\nended with ${code ?? signal}\n`)
    })
  })

export const sanitize = async (o: {
  readonly folder: string
  readonly tools: ReadonlyArray<string>
  readonly pattern: string | undefined
  readonly seconds: number
  /** A file of `test/`. */
  readonly suite: string
}): Promise<Outcome> => {
  fs.mkdirSync(o.folder, { recursive: true })
  process.env['TUNEC_CACHE'] ??= path.join(o.folder, 'cache')
  const rows: string[][] = []
  const faults: string[] = []
  const notes: string[] = []
  for (const tool of o.tools) {
    const argv = commandOf(tool, o.pattern ?? PATTERN, o.suite)
    console.log(argv.map((a) => (/[^\w./=-]/.test(a) ? `'${a}'` : a)).join(' '))
    const begun = performance.now()
    const text = await run(argv, o.seconds)
    const log = path.join(o.folder, `sanitize-${tool}.log`)
    fs.writeFileSync(log, text)
    const s = summaryOf(text)
    const clean = s.errors === 0 && s.failed === 0 && s.passed > 0
    if (!clean) {
      faults.push(
        `${tool}: ${s.errors ?? 'no summary of'} errors, ${s.failed} tests failed; ${log}`,
      )
      notes.push(
        ...text
          .split('\n')
          .filter((l) => /^=+ |not ok|cannot be/.test(l))
          .slice(0, 12),
      )
    }
    rows.push([
      tool,
      s.errors === null ? '-' : String(s.errors),
      String(s.passed),
      String(s.failed),
      ((performance.now() - begun) / 1e3).toFixed(1),
    ])
  }
  return { columns: ['tool', 'errors', 'tests passed', 'failed', 'seconds'], rows, notes, faults }
}
