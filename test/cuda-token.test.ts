/** One more token of each sequence, run on a CPU by fibers, against rope, cacheWrite and cachedAttention one after the other. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { token, tokenFits, tokenWorkspaceBytes } from '../backends/cuda/kernels/token.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { tensor, type Float } from '../ir/type.ts'
import { close, makeArena } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { apply, t } from './op-cases.ts'

const { normal, uniform } = generator(9)
const rounded = (x: Tensor): Tensor => t(x.type, x.data.map(round[x.type.dtype as Float]))

describe('a token on fibers', { skip: noCompiler }, () => {
  for (const [dtype, kvHeads, group, dim, capacity, parts, positions] of [
    // The first entry, the last, one before and one behind the cache.
    ['f32', 2, 1, 16, 7, 1, [0, 6, -1, 7]],
    ['bf16', 1, 4, 128, 90, 1, [89, 40]],
    ['f16', 2, 2, 64, 300, 3, [299, 1, 100, -1]],
    ['bf16', 1, 8, 8, 40, 2, [17]],
    ['f32', 1, 3, 256, 33, 4, [31, 2]],
  ] as const)
    test(`${dtype}: ${kvHeads}·${group} heads of ${dim}, ${capacity} entries in ${parts} parts`, () => {
      const batch = positions.length
      const heads = kvHeads * group
      const shape = { batch, capacity, heads, kvHeads, dim }
      assert.ok(tokenFits(shape))
      const arena = makeArena(1 << 20)
      const [q, k, v] = [heads, kvHeads, kvHeads].map((n) => normal(tensor(dtype, batch, n * dim)))
      const angles = Array.from({ length: (batch * dim) / 2 }, () => 6 * uniform())
      const table = (f: (x: number) => number) =>
        t(
          tensor('f32', batch, dim / 2),
          angles.map((x) => Math.fround(f(x))),
        )
      const [cos, sin] = [table(Math.cos), table(Math.sin)]
      const cache = tensor(dtype, batch, capacity, kvHeads * dim)
      const [ks, vs] = [normal(cache), normal(cache)]
      const at = t(tensor('i32', batch, 1), positions)
      const turned = (x: Tensor) => rounded(apply('rope', { inverse: false }, x, cos, sin)[0]!)
      const nextK = apply('cacheWrite', {}, ks, turned(k!), at)[0]!
      const nextV = apply('cacheWrite', {}, vs, v!, at)[0]!
      const want = apply('cachedAttention', { heads, kvHeads }, turned(q!), nextK, nextV, at)[0]!
      // What no position has reached is not looked at.
      const dirty = (x: Tensor): Tensor =>
        t(
          x.type,
          x.data.map((value, i) =>
            Math.floor(i / (kvHeads * dim)) % capacity >
            positions[Math.floor(i / (kvHeads * dim * capacity))]!
              ? NaN
              : value,
          ),
        )
      const caches = [ks, vs].map((x) => arena.mayWrite(arena.put(dirty(x))))
      const out = arena.out(tensor(dtype, batch, heads * dim), 8)
      arena.run(
        token({
          ...shape,
          dtype,
          q: arena.put(q!, 8),
          k: arena.put(k!, 8),
          v: arena.put(v!),
          cos: arena.put(cos).offset,
          sin: arena.put(sin).offset,
          keys: caches[0]!.offset,
          values: caches[1]!.offset,
          positions: arena.put(at).offset,
          out,
          parts,
          workspace: arena.scratch(tokenWorkspaceBytes(shape, parts)),
        }),
      )
      close('out', arena.get(out), want.data, dtype, dtype === 'f32' ? 4e-6 : 2e-3)
      for (const [i, next] of [nextK, nextV].entries()) {
        const got = arena.get(caches[i]!)
        const [held, expected] = [dirty(next).data, got].map((x) =>
          Float64Array.from(x, (n) => (Number.isNaN(n) ? 0 : n)),
        ) as [Float64Array, Float64Array]
        close(`cache ${i}`, expected, held, dtype)
      }
    })
})
