/** State made from a checkpoint's bytes on the device: the host's bytes exactly, in pieces, within the spare memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { encode } from '../backends/bytes.ts'
import { openLane } from '../backends/cuda/lane.ts'
import { fillInto, loadInto, type Lane } from '../backends/cuda/load.ts'
import { loadingOf, spareOf, type Loading, type Memory } from '../backends/cuda/lower/loading.ts'
import type { Stored } from '../backends/backend.ts'
import { materialize } from '../backends/materialize.ts'
import type { State } from '../ir/graph.ts'
import {
  bytes,
  isEncoded,
  size,
  tensor,
  type DType,
  type Float,
  type TensorType,
} from '../ir/type.ts'
import { random } from '../src/data/random.ts'
import { fromF32, toF32 } from '../src/tensors/convert.ts'
import { calls, fake, gpuOf, missing } from './cuda-fake.ts'
import { noCompiler } from './cuda/emulate.ts'
import { laneOf } from './cuda/lane.ts'
import { right } from './right.ts'

const skip = noCompiler
const names = { f32: 'F32', f16: 'F16', bf16: 'BF16' } as const

const valuesOf = (n: number, salt: number): Float32Array => {
  const draw = random(3, salt)
  // Blocks of very different sizes, one of them of zeros.
  return Float32Array.from({ length: n }, (_, i) => {
    const block = Math.floor(i / 64)
    return block === 1 ? 0 : (draw.next() / 2 ** 32 - 0.5) * 2 ** (block % 23) * 1e-3
  })
}

const storedOf = (dtype: Float, of: Uint8Array, reads: Array<number> = []): Stored<never> => ({
  dtype,
  length: of.length,
  read: (into, at) => {
    reads.push(into.length)
    into.set(of.subarray(at, at + into.length))
    return TE.right(undefined)
  },
})

interface Room {
  /** Temporaries beyond what the tensor's own bookkeeping takes. */
  readonly spare: number
  readonly buffer?: number
}

/** A vector; 8-bit integers in rows of 512. */
const typed = (type: DType, n: number): TensorType =>
  type === 'int8' ? tensor(type, n / 512, 512) : tensor(type, n)

/** Loads one tensor into an arena that ends with guards; gives what the device holds, or null. */
const loadOne = async (type: DType, n: number, from: Float, file: Uint8Array, room: Room) => {
  const port = { name: 'w', type: typed(type, n), offset: 512 }
  const memory: Memory = { state: new Map([['w', port]]), arenaBytes: 0 }
  const whole = { ...memory, arenaBytes: spareOf(memory).offset + room.spare }
  const arena = Buffer.alloc(whole.arenaBytes + 4096, 0xa5)
  // A session clears its arena; nothing writes the gaps between the parts of a type.
  arena.fill(0, 512, 512 + bytes(port.type))
  const reads: Array<number> = []
  const lane = laneOf(arena, room.buffer)
  const ran: Loading[] = []
  const noted: Lane = {
    ...lane,
    send: (to, buffer, from, length) => {
      ran.push({ _tag: 'send', to, from, length })
      return lane.send(to, buffer, from, length)
    },
    run: (l) => {
      ran.push(l)
      return lane.run(l)
    },
  }
  const load = loadInto(noted, whole)
  const took = right(await load(port, storedOf(from, file, reads))())
  for (const [a, b] of [
    [0, 512],
    [512 + bytes(port.type), spareOf(memory).offset],
    [whole.arenaBytes, arena.length],
  ])
    assert.ok(
      arena.subarray(a, b).every((x) => x === 0xa5),
      'a byte outside of the tensor and the spare memory was written',
    )
  const listed = loadingOf(whole, port, from, room.buffer ?? 2 ** 20)
  return {
    took,
    reads,
    ran,
    listed,
    held: Uint8Array.from(arena.subarray(512, 512 + bytes(port.type))),
  }
}

/** What the host makes of the same bytes. */
const hosts = async (type: DType, n: number, from: Float, file: Uint8Array) => {
  const load = { _tag: 'load', key: 'w' } as const
  const s: State = {
    name: 'w',
    type: typed(type, n),
    role: 'frozen',
    recipe: isEncoded(type) ? { _tag: type === 'int8' ? 'int8' : 'nf4', of: load } : load,
  }
  return right(await materialize(s, () => TE.right(right(toF32(names[from], file))), 0)())
}

const KIB = 1024
const cases: ReadonlyArray<readonly [DType, Float, number, Room]> = [
  ['nf4/64/256', 'bf16', 5 * 16384 + 777, { spare: 80 * KIB }],
  ['nf4/64/256', 'f32', 2 * 16384 + 64, { spare: 160 * KIB, buffer: 64 * KIB }],
  ['nf4/64/256', 'f16', 16384, { spare: 2 ** 20 }],
  ['nf4/64', 'bf16', 3 * 16384 + 1, { spare: 100 * KIB, buffer: 64 * KIB }],
  ['nf4/32/256', 'bf16', 40_000, { spare: 64 * KIB }],
  ['int8', 'bf16', 70 * 512, { spare: 48 * KIB }],
  ['int8', 'f32', 40 * 512, { spare: 2 ** 18, buffer: 32 * KIB }],
  ['bf16', 'f32', 50_001, { spare: 60 * KIB }],
  ['f16', 'f32', 9_000, { spare: 64 * KIB, buffer: 16 * KIB }],
  ['f32', 'bf16', 50_001, { spare: 30 * KIB, buffer: 64 * KIB }],
  ['f16', 'bf16', 100, { spare: 16 * KIB }],
  ['bf16', 'bf16', 70_000, { spare: 8 * KIB, buffer: 32 * KIB }],
  ['f32', 'f32', 70_000, { spare: 8 * KIB, buffer: 32 * KIB }],
]

for (const [type, from, n, room] of cases)
  test(`${type}[${n}] from ${from} is the host's, byte for byte`, { skip }, async () => {
    const file = fromF32(names[from], valuesOf(n, n))
    const { took, held, reads, ran, listed } = await loadOne(type, n, from, file, room)
    assert.equal(took, true)
    assert.deepEqual(ran, listed, 'nothing runs that the list does not hold')
    assert.deepEqual(held, await hosts(type, n, from, file))
    assert.equal(
      reads.reduce((a, b) => a + b, 0),
      file.length,
      'every byte is read once',
    )
    assert.ok(reads.every((r) => r <= (room.buffer ?? 2 ** 20)))
  })

const bad: ReadonlyArray<readonly [string, DType, Float, number]> = [
  ['a NaN', 'nf4/64/256', 'bf16', NaN],
  ['an infinity', 'bf16', 'bf16', -Infinity],
  ['an infinity', 'nf4/64', 'f32', Infinity],
  ['a value beyond f16', 'f16', 'f32', 65520],
  ['a value beyond bf16', 'bf16', 'f32', 3.4028e38],
  ['a NaN', 'int8', 'bf16', NaN],
  ['a value beyond f16', 'int8', 'f32', 65520],
  ['scales beyond f32', 'nf4/64/256', 'f32', 3.4e38],
]
for (const [what, type, from, value] of bad)
  test(`${what} in ${type} from ${from} is left to the host`, { skip }, async () => {
    const n = 3 * 16384
    for (const at of [0, 20_000, n - 1]) {
      const values = valuesOf(n, 5).map((x, i) => (i === at ? value : x / 1e4))
      const file = fromF32(names[from], values)
      const { took } = await loadOne(type, n, from, file, { spare: 96 * KIB })
      assert.equal(took, false, `at ${at}`)
    }
  })

test('too little spare memory, another type, no values: the host makes it', { skip }, async () => {
  const file = fromF32('BF16', valuesOf(40_000, 1))
  assert.equal((await loadOne('nf4/64/256', 40_000, 'bf16', file, { spare: 8192 })).took, false)
  assert.equal((await loadOne('f32', 40_000, 'bf16', file, { spare: 4096 })).took, false)
  assert.equal((await loadOne('i32', 40_000, 'bf16', file, { spare: 2 ** 20 })).took, false)
  assert.equal((await loadOne('f32', 39_999, 'bf16', file, { spare: 2 ** 20 })).took, false)
  const none = new Uint8Array(0)
  assert.equal((await loadOne('f32', 0, 'bf16', none, { spare: 2 ** 20 })).took, false)
})

test('a filled state is what the host makes, of every type', { skip }, async () => {
  for (const [dtype, value, n] of [
    ['f32', 0, 1000],
    ['f32', -1.5, 4097],
    ['bf16', 0.1, 333],
    ['f16', 65504, 2],
    ['i32', -7, 5],
    ['u8', 200, 19],
    ['bool', 1, 3],
    ['f32', 65536, 1],
  ] as const) {
    const port = { name: 'w', type: tensor(dtype, n), offset: 256 }
    const arena = Buffer.alloc(256 * Math.ceil((512 + bytes(port.type)) / 256), 0xa5)
    const lane = laneOf(arena)
    assert.equal(right(fillInto(lane, port, value)), true)
    right(lane.copyOut(new Uint8Array(0), 0))
    const s: State = { ...port, role: 'cache', recipe: { _tag: 'fill', value } }
    const host = right(await materialize(s, () => TE.left('nothing is loaded'), 0)())
    assert.equal(host.length, bytes(port.type))
    assert.deepEqual(host, encode(port.type, new Float32Array(n).fill(value)))
    const end = 256 + host.length
    assert.deepEqual(Uint8Array.from(arena.subarray(256, end)), host, `${dtype} ${value}`)
    assert.ok([...arena.subarray(0, 256), ...arena.subarray(end)].every((x) => x === 0xa5))
  }
  const nf4 = { name: 'w', type: tensor('nf4/64', 64), offset: 0 }
  assert.equal(right(fillInto(laneOf(Buffer.alloc(512)), nf4, 0)), false)
})

/** What a load of a tensor of any size would do: nothing is held, sent or run. */
const wouldDo = async (type: DType, from: Float, n: number) => {
  const port = { name: 'w', type: tensor(type, n), offset: 2 ** 33 }
  const memory: Memory = { state: new Map([['w', port]]), arenaBytes: 0 }
  const arenaBytes = spareOf(memory).offset + 2 ** 30
  const wide = bytes(tensor(from, 1))
  const seen = { read: 0, sends: [] as Array<readonly [to: number, length: number]>, late: 0 }
  const [buffer, done] = [new Uint8Array(2 ** 25), E.right(undefined)]
  const lane: Lane = {
    buffers: [buffer, buffer],
    send: (to, _, __, length) => {
      seen.sends.push([to, length])
      return done
    },
    run: (l) => {
      for (const a of l.args) {
        if (a._tag === 'u32')
          assert.ok(Number.isInteger(a.value) && a.value < 2 ** 32 && a.value >= 0)
        if (a._tag === 'at') assert.ok(a.offset >= port.offset && a.offset < arenaBytes)
      }
      if (l.kernel.name === 'nf4_mean') seen.late = seen.sends.length
      return done
    },
    fence: () => E.right(() => done),
    copyOut: (into) => {
      // Flags that say yes, and as f32 small numbers.
      into.fill(1)
      return done
    },
  }
  const stored: Stored<never> = {
    dtype: from,
    length: n * wide,
    read: (into, at) => {
      assert.equal(at, seen.read)
      seen.read += into.length
      return TE.right(undefined)
    },
  }
  await loadInto(lane, { ...memory, arenaBytes })(port, stored)()
  return { ...seen, port, wide }
}

test('a tensor of more than 4 GiB comes in pieces that a kernel can count', async () => {
  const n = 3 * 2 ** 30 + 5
  const plain = await wouldDo('bf16', 'bf16', n)
  assert.equal(plain.read, 2 * n)
  let at = plain.port.offset
  for (const [to, length] of plain.sends) {
    assert.equal(to, at)
    at += length
  }
  assert.equal(at, plain.port.offset + 2 * n)
  const packed = await wouldDo('nf4/64/256', 'f32', n)
  assert.equal(packed.read, 4 * n)
  assert.ok(
    packed.sends.every(([, length], i) => length === 2 ** 25 || i === packed.sends.length - 1),
  )
  assert.equal(packed.late, packed.sends.length, 'the mean of all scales comes last')
})

test('a file that cannot be read ends the load with its own error', { skip }, async () => {
  const type = tensor('bf16', 40_000)
  const arena = Buffer.alloc(2 ** 20)
  const port = { name: 'w', type, offset: 0 }
  const memory: Memory = { state: new Map([['w', port]]), arenaBytes: arena.length }
  const stored: Stored<string> = {
    dtype: 'bf16',
    length: 80_000,
    read: (_, at) => (at === 0 ? TE.right(undefined) : TE.left('gone')),
  }
  const r = await loadInto(laneOf(arena, 16 * KIB), memory)(port, stored)()
  assert.deepEqual(r, E.left('gone'))
})

test(
  'on a driver: two pinned buffers in turn, no memory of the device, all given back',
  {
    skip: missing ?? false,
  },
  async () => {
    const gpu = gpuOf()
    const n = 3 * 2 ** 24 + 5
    const type = tensor('bf16', n)
    const arenaBytes = Math.ceil(bytes(type) / 256) * 256 + 2 ** 16
    const base = right(gpu.allocate(arenaBytes))
    const products = right(gpu.products({ address: base, bytes: 256 }))
    calls()
    const lane = right(openLane({ gpu, products, base }))
    assert.deepEqual(calls(), ['cuMemAllocHost_v2', 'cuMemAllocHost_v2'])
    const ran: Array<string> = []
    const flagged = {
      ...lane,
      run: (l: { readonly kernel: { readonly name: string } }) => {
        ran.push(l.kernel.name)
        return E.right(undefined)
      },
      copyOut: (into: Uint8Array) => {
        into.fill(1)
        return E.right(undefined)
      },
    }
    const file = encode(tensor('bf16', 2 ** 20), valuesOf(2 ** 20, 9))
    const stored: Stored<never> = {
      dtype: 'bf16',
      length: 2 * n,
      read: (into, at) => {
        for (let i = 0; i < into.length; i += file.length)
          into.set(file.subarray(0, Math.min(file.length, into.length - i)), i)
        into[0] = at / 2 ** 25
        return TE.right(undefined)
      },
    }
    const port = { name: 'w', type, offset: 0 }
    const memory: Memory = { state: new Map([['w', port]]), arenaBytes }
    assert.equal(right(await loadInto(flagged, memory)(port, stored)()), true)
    const [send, mark, wait] = ['cuMemcpyHtoDAsync_v2', 'cuEventRecord', 'cuEventSynchronize']
    const seen = calls().filter((c) => [send, mark, wait].includes(c))
    // The third piece waits for the first, the fourth for the second; both last are waited for.
    const first = [send, mark, send, mark]
    assert.deepEqual(seen, [...first, wait, send, mark, wait, send, mark, wait, wait])
    assert.deepEqual(
      ran,
      Array.from({ length: 4 }, () => ['finite_partial', 'finite_total']).flat(),
    )
    const got = new Uint8Array(size(type) * 2)
    right(gpu.copyOut(got, base))
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => got[i * 2 ** 25]),
      [0, 1, 2, 3],
    )
    right(lane.close())
    assert.deepEqual([gpu.live().pinned, gpu.live().fences, gpu.live().allocations], [0, 0, 1])
    right(gpu.close())
    assert.equal(fake().live(), 0)
  },
)
