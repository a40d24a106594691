/** Hopper's attention hands stages from a producer to consumers by barriers: however far warps run ahead of each other, the bytes are the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fast from '../backends/cuda/kernels/attention-fast.ts'
import type { KernelLaunch } from '../backends/cuda/launch.ts'
import { tensor } from '../ir/type.ts'
import { makeArena } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { t } from './op-cases.ts'

/** Stages are taken again: five tiles of 128 keys pass through two, ten of 64 queries through four. */
const d = { rows: 1, length: 600, heads: 2, kvHeads: 1, dim: 64 }
const dtype = 'bf16'
/** Two samples in the row: the tiles between them are skipped. */
const ids = Array.from({ length: d.length }, (_, i) => (i < 290 ? 1 : 2))

/** The bytes of all results, with these macros added to every launch. */
const computed = (order: Readonly<Record<string, number>>): ReadonlyArray<Uint8Array> => {
  const { normal } = generator(31)
  const arena = makeArena(1 << 23)
  const ordered = (list: ReadonlyArray<KernelLaunch>) =>
    arena.run(
      list.map((l) => ({
        ...l,
        kernel: { ...l.kernel, defines: { ...l.kernel.defines, ...order } },
      })),
    )
  const wide = tensor(dtype, d.length, d.heads * d.dim)
  const narrow = tensor(dtype, d.length, d.kvHeads * d.dim)
  const engine = fast.engineOf({ ...d, dtype }, '90a')!
  const o = {
    ...d,
    dtype,
    ranges: arena.scratch(fast.rangesBytes({ ...d, dtype })),
    q: arena.put(normal(wide)),
    k: arena.put(normal(narrow)),
    v: arena.put(normal(narrow)),
    segments: arena.put(t(tensor('i32', d.rows, d.length), ids)).offset,
    out: arena.out(wide),
    lse: arena.out(tensor('f32', d.length, d.heads)),
  } as const
  const lse = o.lse.offset
  ordered([fast.segmentRanges(o), ...fast.attentionOn(engine, { ...o, lse })])
  const [dq, dk, dv] = [arena.out(wide), arena.out(narrow), arena.out(narrow)]
  const ct = arena.put(normal(wide))
  const workspace = arena.scratch(fast.statBytes(o))
  ordered(fast.attentionGradOn(engine, { ...o, lse, ct, dq, dk, dv, workspace }))
  return [o.out, o.lse, dq, dk, dv].map(arena.raw)
}

test('in any order of warps', { skip: noCompiler }, () => {
  const usual = computed({})
  assert.ok(usual.every((bytes) => bytes.some((x) => x !== 0)))
  for (const order of [{ SKEW: 50 }, { SKEW: 50, LAST_FIRST: 1 }, { LAST_FIRST: 1 }])
    assert.deepEqual(computed(order), usual)
})
