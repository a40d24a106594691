/** `compile --dump-kernels`: the launch lists and CUDA sources as files, without a GPU. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { here, inFolder, smallJob } from './cli-child.ts'

const filesOf = async (folder: string): Promise<ReadonlyMap<string, string>> =>
  new Map(
    await Promise.all(
      (await fs.readdir(folder)).map(
        async (n) => [n, await fs.readFile(path.join(folder, n), 'utf8')] as const,
      ),
    ),
  )

test('the same config gives the same bytes; every kernel of a list is in the file of its macros', async () =>
  inFolder(async (folder) => {
    const job = await smallJob(folder)
    const [a, b, c] = ['a', 'b', 'c'].map((n) => path.join(folder, n)) as [string, string, string]
    const first = await here('compile', job, '--dump-kernels', a, '--arch', 'sm_86')
    assert.equal(first.code, 0, first.err)
    assert.match(first.out, /launches for sm_86 \(GeForce RTX 3090, as --arch asks\) lie in \S+a: /)
    await here('compile', job, '--dump-kernels', b, '--arch', 'sm_86')
    const files = await filesOf(a)
    assert.deepEqual(await filesOf(b), files)
    await here('compile', job, '--dump-kernels', c, '--arch', 'sm_120')
    assert.notEqual((await filesOf(c)).get('micro.launches'), files.get('micro.launches'))
    const names = [...files.keys()]
    for (const fn of ['micro', 'update', 'evaluate', 'prefill', 'decode'])
      assert.match(
        files.get(`${fn}.launches`)!,
        new RegExp(`^base for sm_86 .*\\n\\n@${fn}: \\d+ l`),
      )
    assert.match(files.get('program.ir')!, /^program @base \{/)
    // Weights of the base are quantized from the dtype of its files; what the host makes is said.
    const loading = files.get('loading.launches')!
    assert.match(
      loading,
      /q_proj\.weight: nf4[^@]*@\d+, from bf16\n +send \d+ bytes[^]*?nf4\.cu\.nf4_maxima/,
    )
    assert.match(loading, /lora_A\.weight: [^@]*@\d+, made by the host\n/)
    assert.match(loading, /lora_B\.weight: [^@]*@\d+, filled with 0\n +\w+\.cu\./)
    const used = [...files].flatMap(([name, text]) =>
      name.endsWith('.launches')
        ? [...text.matchAll(/^ +(?:\d+ )?(\w+)\.cu\.(\w+)<([^>]*)>/gm)].map((m) => m.slice(1))
        : [],
    )
    assert.ok(used.length > 100)
    for (const key of new Set(used.map((u) => u.join('|')))) {
      const [source, kernel, macros] = key.split('|') as [string, string, string]
      const wanted = macros === '' ? [] : macros.split(' ').map((m) => m.replace('=', ' '))
      const holding = names.filter((n) => {
        const text = files.get(n)!
        const head = text.slice(0, text.indexOf('\n\n'))
        const given = [...head.matchAll(/^#define (.*)$/gm)].map((m) => m[1]!)
        return (
          head.startsWith(`// ${source}.cu: `) &&
          new RegExp(`\\b${kernel}\\b`).test(head.split('\n')[0]!) &&
          given.toSorted().join() === wanted.toSorted().join()
        )
      })
      assert.equal(holding.length, 1, `${source} ${kernel} ${macros}`)
      assert.match(files.get(holding[0]!)!, new RegExp(`^KERNEL[^\\n]*\\b${kernel}\\(`, 'm'))
    }
  }))

test('without --arch it says which GPU it is for; an architecture that is none is refused', async () =>
  inFolder(async (folder) => {
    const job = await smallJob(folder)
    const plain = await here('compile', job, '--dump-kernels', path.join(folder, 'k'))
    assert.match(
      plain.out,
      /launches for sm_\d+ \((H100, because no GPU works here; --arch names another|.+, the GPU here)\) /,
    )
    const wrong = await here('compile', job, '--dump-kernels', folder, '--arch', 'sm_61')
    assert.equal(wrong.code, 1)
    assert.match(wrong.err, /no architecture "sm_61"[^]*expected: one of sm_75, sm_80, .*sm_120/)
    const alone = await here('compile', job, '--arch', 'sm_80')
    assert.equal(alone.code, 1)
    assert.match(alone.err, /--arch says what --dump-kernels compiles for/)
  }))

test('float8: a list for Hopper, refused for a card without 8-bit tensor cores', async () =>
  inFolder(async (folder) => {
    const job = await smallJob(folder, 'compute_dtype: float8')
    const k = path.join(folder, 'k')
    const hopper = await here('compile', job, '--dump-kernels', k, '--arch', 'sm_90a')
    assert.equal(hopper.code, 0, hopper.err)
    assert.match((await filesOf(k)).get('micro.launches')!, /product bf16.* = e4m3\[/)
    const ampere = await here('compile', job, '--dump-kernels', k, '--arch', 'sm_80')
    assert.equal(ampere.code, 1)
    assert.match(
      ampere.err,
      /float8 needs tensor cores for 8-bit floats.* from compute capability 8\.9 .*this one has 8\.0[^]*write `compiler\.compute_dtype: bfloat16`/,
    )
  }))
