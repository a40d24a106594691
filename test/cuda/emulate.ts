/** Runs launches on the CPU: the kernels' own sources, compiled by g++ with a GPU of fibers (device.h) before them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import koffi from 'koffi'
import type { Arg, Kernel, KernelLaunch } from '../../backends/cuda/launch.ts'

const here = import.meta.dirname
const kernels = path.join(here, '../../backends/cuda/kernels')
const text = (file: string): string => readFileSync(file, 'utf8')

export const noCompiler: string | false =
  spawnSync('g++', ['--version']).status === 0
    ? false
    : 'g++ is not installed: kernels are not emulated'

/** Common prefix and source of a kernel, as the runtime joins them. */
export const sourceOf = (k: Kernel): string =>
  text(path.join(kernels, 'common.cuh')) + text(path.join(kernels, k.source))

const entries = (source: string): ReadonlyArray<string> =>
  [...source.matchAll(/^KERNEL\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(/gm)].map((m) => m[1]!)

/** One entry for all kernels of a source: run(name, grid, threads, arguments as 8-byte slots). */
const dispatcher = (names: ReadonlyArray<string>): string => `
extern "C" int run(const char* name, const unsigned* grid, unsigned threads, uint64_t* slots, unsigned count, uint64_t maps, const device::Span* spans, unsigned spanCount) {
  static void* pointers[64];
  alignas(64) static uint64_t held[64][16];
  unsigned arity = 0;
  for (unsigned i = 0; i < count; i++) {
    pointers[i] = slots + i;
    // A tensor map is passed by value: the slot says where it lies.
    if (maps >> i & 1) pointers[i] = memcpy(held[i], (void*)slots[i], 128);
  }
  device::arguments = pointers;
  ${names.map((n) => `if (!strcmp(name, "${n}")) { device::body = [](void** a) { device::call(${n}, a); }; arity = device::arity(${n}); }`).join('\n  ')}
  if (arity != count) return arity ? (int)arity : -1;
  device::spans = spans;
  device::spanCount = spanCount;
  uint64_t hidden = 0;
  for (unsigned i = 0; i < spanCount; i++) hidden += spans[i].length;
  device::truth = (char*)realloc(device::truth, hidden + 1);
  gridDim = dim3{grid[0], grid[1], grid[2]};
  blockDim = dim3{threads, 1, 1};
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        blockIdx = dim3{x, y, z};
        if (spanCount) device::hide();
        device::runBlock(threads);
        if (device::early != device::ON_TIME) return -1 - device::early;
      }
  return 0;
}
`

type Run = (
  name: string,
  grid: Uint32Array,
  threads: number,
  slots: BigUint64Array,
  count: number,
  maps: bigint,
  spans: BigUint64Array,
  spanCount: number,
) => number
const loaded = new Map<string, Run>()

const libraryOf = (k: Kernel): Run => {
  const defines = Object.entries(k.defines).map(([n, v]) => `-D${n}=${v}`)
  const source = sourceOf(k)
  const whole = text(path.join(here, 'device.h')) + source + dispatcher(entries(source))
  const key = createHash('sha256')
    .update([whole, ...defines].join('\0'))
    .digest('hex')
    .slice(0, 24)
  const known = loaded.get(key)
  if (known !== undefined) return known
  const folder = path.join(tmpdir(), 'tunec-emulated')
  mkdirSync(folder, { recursive: true })
  const library = path.join(folder, `${key}.so`)
  if (!existsSync(library)) {
    const own = path.join(folder, `${key}-${process.pid}`)
    writeFileSync(`${own}.cpp`, whole)
    // No contraction: a product and a sum round apart unless the kernel says fmaf.
    const flags = ['-std=c++17', '-O1', '-w', '-ffp-contract=off', '-shared', '-fPIC']
    // Checked, _longjmp takes another fiber's stack for an error.
    const unchecked = ['-U_FORTIFY_SOURCE']
    execFileSync('g++', [...flags, ...unchecked, ...defines, `${own}.cpp`, '-o', `${own}.so`])
    renameSync(`${own}.so`, library)
  }
  const run = koffi
    .load(library)
    .func(
      'int run(const char*, const uint32_t*, uint32_t, uint64_t*, uint32_t, uint64_t, const uint64_t*, uint32_t)',
    ) as Run
  loaded.set(key, run)
  return run
}

const f32Bits = (x: number): bigint => BigInt(new Uint32Array(Float32Array.of(x).buffer)[0]!)
const slot =
  (base: bigint, kept: BigUint64Array[]) =>
  (a: Arg): bigint => {
    switch (a._tag) {
      case 'at':
        return base + BigInt(a.offset)
      case 'null':
        return 0n
      case 'f32':
        return f32Bits(a.value)
      case 'i32':
      case 'u32':
        if (!Number.isInteger(a.value) || a.value < -(2 ** 31) || a.value >= 2 ** 32)
          throw new Error(`argument ${a.value} is no 32-bit integer`)
        return BigInt(a.value >>> 0)
      case 'map': {
        const words = new BigUint64Array(16)
        const at = base + BigInt(a.offset)
        if (a.offset % 16 !== 0 || a.ld % 8 !== 0) throw new Error('a tensor map is not aligned')
        words.set([at, ...[a.rows, a.columns, a.ld, a.boxRows].map(BigInt)])
        kept.push(words)
        return BigInt(koffi.address(words))
      }
    }
  }

/** Bytes of an arena. */
export interface Part {
  readonly offset: number
  readonly length: number
}

/** What a launch has done wrong; null: nothing. */
const wrong = (l: KernelLaunch, code: number): string | null => {
  switch (code) {
    case 0:
      return null
    case -2:
      return `${l.kernel.name} begins early and never waits`
    case -3:
      return `${l.kernel.name} begins early and writes before it waits`
    default:
      return `${l.kernel.name} has ${code} parameters, its card gives ${l.args.length}`
  }
}

/** Runs launches in order over an arena. One that begins early finds garbage in the `changing` parts until it waits. */
export const emulate = (
  arena: Buffer,
  launches: ReadonlyArray<KernelLaunch>,
  changing: ReadonlyArray<Part> = [],
): void => {
  const base = koffi.address(arena)
  const spans = BigUint64Array.from(
    changing.flatMap((c) => [BigInt(base) + BigInt(c.offset), BigInt(c.length)]),
  )
  for (const l of launches) {
    const kept: BigUint64Array[] = []
    const slots = BigUint64Array.from(l.args, slot(BigInt(base), kept))
    const maps = l.args.reduce((m, a, i) => (a._tag === 'map' ? m | (1n << BigInt(i)) : m), 0n)
    const code = libraryOf(l.kernel)(
      l.kernel.name,
      Uint32Array.from(l.grid),
      l.block,
      slots,
      l.args.length,
      maps,
      spans,
      l.early === true ? changing.length : 0,
    )
    const why = wrong(l, code)
    if (why !== null) throw new Error(why)
  }
}
