// Causal grouped-head attention over packed rows for Hopper (wgmma, TMA; sm_90a). D: width of a head, 64 or 128. The meaning, `ranges` and `stat` are
// those of attention_mma.cu. 384 threads: one producer thread that fills shared memory by TMA, and two consumer warpgroups of 64 rows.
// The producer walks the tiles, drops those whose segments are apart, and says with each stage which tile it is (`sign`). The forward is
// persistent and draws tiles from a counter (heads fastest, then the longest tiles, packed rows last, so that one row's keys stay in L2);
// the backward has one block a tile in the same order. Each tile is computed by one block, so results do not depend on the drawing.
// Needs len % 4 == 0 (bulk copies of stat are 16-byte aligned).
// Shared tiles are [D / 64][rows][64] of 16 bit, rows of 128 bytes, in the 128-byte swizzle.
#define CHUNKS (D / 64)
#define TILE_BYTES (128 * D * 2)
#define HALF_BYTES (64 * D * 2)
#define CHUNK_BYTES (128 * 128)
#define DEEP 4
#define UNROLL _Pragma("unroll")
#define NONE (-1)

#ifndef EMULATED
#ifdef E_F16
#define TYPE "f16"
#else
#define TYPE "bf16"
#endif
struct __align__(64) TensorMap { u64 words[16]; };
#define MAP const __grid_constant__ TensorMap
DEV void barrier_init(u32 b, int n) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(n)); }
DEV void barriers_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
DEV void barrier_expect(u32 b, int bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory"); }
DEV void barrier_arrive(u32 b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
// Until the phase of this parity is over.
DEV void barrier_wait(u32 b, int parity) {
  asm volatile("{.reg .pred p;\nWAIT: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(b), "r"(parity) : "memory");
}
DEV void tma_load(u32 to, const TensorMap* map, int column, int row, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(map), "r"(column), "r"(row), "r"(barrier) : "memory");
}
DEV void bulk_load(u32 to, const void* from, int bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}
DEV void products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEV void products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
template <int N> DEV void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEV void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
#define F8(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define F32(d) F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24)
#define F64(d) F32(d), F8(d, 32), F8(d, 40), F8(d, 48), F8(d, 56)
#define R32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define R64 R32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
// The products run beside the code: accumulators are pinned before they are issued and after they are waited for, or the compiler moves reads.
DEV void pin(float (&d)[32]) { asm volatile("" : F32(d)::"memory"); }
DEV void pin(float (&d)[64]) { asm volatile("" : F64(d)::"memory"); }
// d (+)= a·b, both by descriptor; TRANSPOSED: b is stored [k][n].
template <int TRANSPOSED> DEV void product(float (&d)[32], u64 a, u64 b, int add) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" R32 "}, %32, %33, p, 1, 1, 0, %35;}" : F32(d) : "l"(a), "l"(b), "r"(add), "n"(TRANSPOSED));
}
template <int TRANSPOSED> DEV void product(float (&d)[64], u64 a, u64 b, int add) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" R64 "}, %64, %65, p, 1, 1, 0, %67;}" : F64(d) : "l"(a), "l"(b), "r"(add), "n"(TRANSPOSED));
}
// d += a·b, a in registers.
template <int TRANSPOSED> DEV void product(float (&d)[32], const u32* a, u64 b) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" R32 "}, {%32, %33, %34, %35}, %36, p, 1, 1, %37;}" : F32(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(TRANSPOSED));
}
template <int TRANSPOSED> DEV void product(float (&d)[64], const u32* a, u64 b) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" R64 "}, {%64, %65, %66, %67}, %68, p, 1, 1, %69;}" : F64(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(TRANSPOSED));
}
#endif

// A warp arrives once, when all its lanes have read what the barrier guards.
DEV void leave(u32 barrier) {
  __syncwarp();
  if ((threadIdx.x & 31) == 0) barrier_arrive(barrier);
}

// Groups of 8 rows lie 1,024 bytes apart; `lead`: bytes from one chunk of 64 columns to the next where b is stored [k][n].
DEV u64 descriptor(u32 address, u32 lead) {
  return (u64)((address & 0x3ffff) >> 4) | ((u64)(lead >> 4) << 16) | ((u64)(1024 >> 4) << 32) | (1ull << 62);
}
// d[64 × N] = 64 rows at a · N rows at b, both [rows][D]; their whole tiles have rowsA and rowsB rows.
template <int R> DEV void scores(float (&d)[R], u32 a, int rowsA, u32 b, int rowsB) {
  UNROLL
  for (int c = 0; c < CHUNKS; c++)
    UNROLL
    for (int k = 0; k < 4; k++) product<0>(d, descriptor(a + c * rowsA * 128 + k * 32, 16), descriptor(b + c * rowsB * 128 + k * 32, 16), c | k);
}
// d[64 × D] += p[64 × 16·STEPS] · 16·STEPS rows at b
template <int STEPS, int R> DEV void accumulate(float (&d)[R], const u32* p, u32 b, int rowsB) {
  UNROLL
  for (int k = 0; k < STEPS; k++) product<1>(d, p + 4 * k, descriptor(b + k * 2048, rowsB * 128));
}
DEV u32 pair(float lo, float hi) { return pack(lo, hi, (const elem*)0); }
DEV u32 aligned_memory(const void* p) { return (shared_address(p) + 1023) & ~1023u; }

// Lowest and highest segment of the 128 tokens from block b of 64.
DEV int2 range_of(const int2* ranges, int b, int blocks) {
  int2 r = ranges[b];
  return b + 1 < blocks ? make_int2(min(r.x, ranges[b + 1].x), max(r.y, ranges[b + 1].y)) : r;
}
DEV bool apart(int2 a, int2 b) { return a.y < b.x || a.x > b.y; }
DEV bool one(int2 a, int2 b) { return a.x == a.y && b.x == b.y && a.x == b.x; }

struct Task { int head, tile, row0; };
DEV Task task_of(int i, int heads, int tiles, int len) {
  int r = i / heads;
  return Task{i % heads, tiles - 1 - r % tiles, r / tiles * len};
}
// The last ticket of a launch puts the counter back to zero for the next one.
DEV int draw(int* counter, int total) {
  int i = atomicAdd(counter, 1);
  if (i == total + (int)gridDim.x - 1) *counter = 0;
  return i < total ? i : NONE;
}
// 128 rows of one head to shared memory, a chunk a copy.
DEV void load_tile(u32 to, const TensorMap* map, int column, int row, int chunkBytes, u32 barrier) {
  for (int c = 0; c < CHUNKS; c++) tma_load(to + c * chunkBytes, map, column + c * 64, row, barrier);
}

// What a row r0 (and r0 + 8) of this lane may not see of 128 keys from k0, set to `hidden`: later ones, and other segments.
template <bool SINGLE> DEV void hide(float (&s)[64], const int* seg, int r0, int k0, int len, float hidden) {
  int quad = threadIdx.x & 3, last = r0 - k0 - quad * 2, own0 = 0, own1 = 0;
  if (!SINGLE) {
    own0 = seg[min(r0, len - 1)];
    own1 = seg[min(r0 + 8, len - 1)];
  }
  UNROLL
  for (int i = 0; i < 16; i++)
    UNROLL
    for (int c = 0; c < 2; c++) {
      int at = i * 8 + c, other = SINGLE ? 0 : seg[min(k0 + quad * 2 + at, len - 1)];
      if (at > last || (!SINGLE && other != own0)) s[i * 4 + c] = hidden;
      if (at > last + 8 || (!SINGLE && other != own1)) s[i * 4 + 2 + c] = hidden;
    }
}

// grid min(SMs, tiles). Shared 1,024 + 5 tiles. sign: tile·4 + last·2 + one segment.
KERNEL __launch_bounds__(384, 1) attention_wgmma(MAP mq, MAP mk, MAP mv, const int* seg, const int2* ranges, elem* out, u32 ldo, float* lse, int* counter,
                                                 int heads, int group, int rows, int len, float scale) {
  DYNAMIC_SHARED(u8, memory);
  __shared__ __align__(8) u64 barriers[10];
  __shared__ int sign[2], slot[2];
  u32 queries = aligned_memory(memory), keys = queries + TILE_BYTES, values = keys + 2 * TILE_BYTES;
  u32 taskReady = shared_address(barriers), queriesFree = taskReady + 8, keysReady = queriesFree + 8, keysFree = keysReady + 16, valuesReady = keysFree + 16, valuesFree = valuesReady + 16;
  int t = threadIdx.x, tiles = (len + 127) / 128, blocks = (len + 63) / 64, total = heads * tiles * rows;
  if (t == 0) {
    barrier_init(taskReady, 1);
    barrier_init(queriesFree, 8);
    for (int i = 0; i < 2; i++) {
      barrier_init(keysReady + 8 * i, 1);
      barrier_init(keysFree + 8 * i, 8);
      barrier_init(valuesReady + 8 * i, 1);
      barrier_init(valuesFree + 8 * i, 8);
    }
    barriers_ready();
  }
  __syncthreads();
  if (t < 128) {
    fewer_registers<24>();
    if (t) return;
    int n = 0;
    for (int turn = 0;; turn++) {
      int i = draw(counter, total);
      barrier_wait(queriesFree, (turn & 1) ^ 1);
      slot[turn & 1] = i;
      if (i == NONE) {
        barrier_arrive(taskReady);
        break;
      }
      Task task = task_of(i, heads, tiles, len);
      int kv = task.head / group;
      const int2* range = ranges + task.row0 / len * blocks;
      int2 mine = range_of(range, 2 * task.tile, blocks);
      auto next = [&](int j) {
        while (j >= 0 && apart(range_of(range, 2 * j, blocks), mine)) j--;
        return j;
      };
      barrier_expect(taskReady, TILE_BYTES);
      load_tile(queries, &mq, task.head * D, task.row0 + task.tile * 128, CHUNK_BYTES, taskReady);
      int j = next(task.tile);
      while (j >= 0) {
        int after = next(j - 1), stage = n & 1, parity = ((n >> 1) & 1) ^ 1;
        barrier_wait(keysFree + 8 * stage, parity);
        sign[stage] = j * 4 + (after < 0) * 2 + one(range_of(range, 2 * j, blocks), mine);
        barrier_expect(keysReady + 8 * stage, TILE_BYTES);
        load_tile(keys + stage * TILE_BYTES, &mk, kv * D, task.row0 + j * 128, CHUNK_BYTES, keysReady + 8 * stage);
        barrier_wait(valuesFree + 8 * stage, parity);
        barrier_expect(valuesReady + 8 * stage, TILE_BYTES);
        load_tile(values + stage * TILE_BYTES, &mv, kv * D, task.row0 + j * 128, CHUNK_BYTES, valuesReady + 8 * stage);
        n++;
        j = after;
      }
    }
    return;
  }
  more_registers<240>();
  int half = t / 128 - 1, lane = t & 31, warp = (t >> 5) & 3, quad = lane & 3, n = 0;
  float base2 = scale * LOG2E;
  u32 own = queries + half * 8192;
  for (int turn = 0;; turn++) {
    barrier_wait(taskReady, turn & 1);
    int i_ = slot[turn & 1];
    if (i_ == NONE) break;
    Task task = task_of(i_, heads, tiles, len);
    int q0 = task.tile * 128, row = q0 + half * 64 + warp * 16 + (lane >> 2), x;
    const int* S = seg + task.row0;
    float sum[D / 2], s[64], top[2] = {-INF, -INF}, norm[2] = {0.f, 0.f}, fade[2];
    u32 p[32];
    auto soften = [&](int x) {
      int j = x >> 2;
      if (!((x & 1) && j * 128 + 127 <= q0 + half * 64)) {
        if (x & 1) hide<true>(s, S, row, j * 128, len, -INF);
        else hide<false>(s, S, row, j * 128, len, -INF);
      }
      UNROLL
      for (int e = 0; e < 2; e++) {
        float best = top[e], all = 0.f;
        UNROLL
        for (int i = 0; i < 16; i++) best = fmaxf(best, fmaxf(s[i * 4 + 2 * e], s[i * 4 + 2 * e + 1]));
        best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
        best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
        float shift = best == -INF ? 0.f : best * base2;
        fade[e] = power_of_two(fmaf(top[e], base2, -shift));
        top[e] = best;
        UNROLL
        for (int i = 0; i < 16; i++) {
          s[i * 4 + 2 * e] = power_of_two(fmaf(s[i * 4 + 2 * e], base2, -shift));
          s[i * 4 + 2 * e + 1] = power_of_two(fmaf(s[i * 4 + 2 * e + 1], base2, -shift));
          all += s[i * 4 + 2 * e] + s[i * 4 + 2 * e + 1];
        }
        norm[e] = norm[e] * fade[e] + all;
      }
    };
    auto narrow = [&]() {
      UNROLL
      for (int i = 0; i < 16; i++) {
        p[2 * i] = pair(s[i * 4], s[i * 4 + 1]);
        p[2 * i + 1] = pair(s[i * 4 + 2], s[i * 4 + 3]);
      }
    };
    UNROLL
    for (int i = 0; i < D / 2; i++) sum[i] = 0.f;
    barrier_wait(keysReady + 8 * (n & 1), (n >> 1) & 1);
    x = sign[n & 1];
    products_fence();
    scores(s, own, 128, keys + (n & 1) * TILE_BYTES, 128);
    products_commit();
    products_wait<0>();
    pin(s);
    leave(keysFree + 8 * (n & 1));
    if (x & 2) leave(queriesFree);
    soften(x);
    narrow();
    // The next scores are under way while this tile's values are summed and the next tile is softened.
    while (!(x & 2)) {
      int stage = n & 1, m = n + 1, then = m & 1;
      barrier_wait(keysReady + 8 * then, (m >> 1) & 1);
      x = sign[then];
      pin(s);
      pin(sum);
      products_fence();
      scores(s, own, 128, keys + then * TILE_BYTES, 128);
      products_commit();
      barrier_wait(valuesReady + 8 * stage, (n >> 1) & 1);
      accumulate<8>(sum, p, values + stage * TILE_BYTES, 128);
      products_commit();
      products_wait<1>();
      pin(s);
      leave(keysFree + 8 * then);
      if (x & 2) leave(queriesFree);
      soften(x);
      products_wait<0>();
      pin(sum);
      leave(valuesFree + 8 * stage);
      UNROLL
      for (int i = 0; i < D / 8; i++) {
        sum[i * 4] *= fade[0];
        sum[i * 4 + 1] *= fade[0];
        sum[i * 4 + 2] *= fade[1];
        sum[i * 4 + 3] *= fade[1];
      }
      narrow();
      n = m;
    }
    pin(sum);
    products_fence();
    barrier_wait(valuesReady + 8 * (n & 1), (n >> 1) & 1);
    accumulate<8>(sum, p, values + (n & 1) * TILE_BYTES, 128);
    products_commit();
    products_wait<0>();
    pin(sum);
    leave(valuesFree + 8 * (n & 1));
    n++;
    UNROLL
    for (int e = 0; e < 2; e++) {
      float all = norm[e];
      all += __shfl_xor_sync(~0u, all, 1);
      all += __shfl_xor_sync(~0u, all, 2);
      int r = row + e * 8;
      if (r >= len) continue;
      float by = 1.f / all;
      u32* to = (u32*)(out + (u64)(task.row0 + r) * ldo + task.head * D + quad * 2);
      UNROLL
      for (int i = 0; i < D / 8; i++) to[i * 4] = pair(sum[i * 4 + 2 * e] * by, sum[i * 4 + 2 * e + 1] * by);
      if (quad == 0) lse[(u64)(task.row0 + r) * heads + task.head] = top[e] * scale + logf(all);
    }
  }
}

// The epilogue of a gradient: rows `row` and `row + 8` of this lane times k, optionally turned back by the rotary tables, rounded, stored.
DEV void finish(const float (&a)[D / 2], elem* to, u32 ld, int row, int len, u64 first, const float* cosines, const float* sines, float k) {
  int quad = threadIdx.x & 3;
  UNROLL
  for (int e = 0; e < 2; e++) {
    int r = row + e * 8;
    if (r >= len) continue;
    u32* p = (u32*)(to + (first + r) * ld + quad * 2);
    UNROLL
    for (int i = 0; i < D / 16; i++) {
      float x0 = a[i * 4 + 2 * e] * k, x1 = a[i * 4 + 2 * e + 1] * k, y0 = a[(i + D / 16) * 4 + 2 * e] * k, y1 = a[(i + D / 16) * 4 + 2 * e + 1] * k;
      if (cosines) {
        u64 table = (first + r) * (D / 2) + i * 8 + quad * 2;
        float2 c = *(const float2*)(cosines + table), s = *(const float2*)(sines + table);
        float u0 = x0 * c.x + y0 * s.x, u1 = x1 * c.y + y1 * s.y;
        y0 = y0 * c.x - x0 * s.x;
        y1 = y1 * c.y - x1 * s.y;
        x0 = u0;
        x1 = u1;
      }
      p[i * 4] = pair(x0, x1);
      p[(i + D / 16) * 4] = pair(y0, y1);
    }
  }
}

// dq and stat; runs before the other. grid (heads, ceil(len / 128), rows). Shared 1,024 + 6 tiles. sign: tile·2 + one segment, NONE ends.
KERNEL __launch_bounds__(384, 1) attention_wgmma_queries(MAP mq, MAP mk, MAP mv, MAP mc, const int* seg, const int2* ranges, const elem* out, u32 ldo, const elem* ct, u32 ldc,
                                                         const float* lse, float* stat, elem* dq, u32 lddq, const float* cosines, const float* sines,
                                                         int heads, int group, int len, u32 tokens, float scale) {
  DYNAMIC_SHARED(u8, memory);
  __shared__ __align__(8) u64 barriers[5];
  __shared__ int sign[2];
  u32 queries = aligned_memory(memory), grads = queries + TILE_BYTES, keys = grads + TILE_BYTES, values = keys + 2 * TILE_BYTES;
  u32 ownReady = shared_address(barriers), ready = ownReady + 8, free = ready + 16;
  int t = threadIdx.x, h = blockIdx.x, q0 = (gridDim.y - 1 - blockIdx.y) * 128, row0 = blockIdx.z * len;
  if (t == 0) {
    barrier_init(ownReady, 1);
    for (int i = 0; i < 2; i++) {
      barrier_init(ready + 8 * i, 1);
      barrier_init(free + 8 * i, 8);
    }
    barriers_ready();
  }
  __syncthreads();
  if (t < 128) {
    fewer_registers<24>();
    if (t) return;
    barrier_expect(ownReady, 2 * TILE_BYTES);
    load_tile(queries, &mq, h * D, row0 + q0, CHUNK_BYTES, ownReady);
    load_tile(grads, &mc, h * D, row0 + q0, CHUNK_BYTES, ownReady);
    int blocks = (len + 63) / 64, n = 0, kv = h / group;
    const int2* range = ranges + blockIdx.z * blocks;
    int2 mine = range_of(range, q0 / 64, blocks);
    for (int j = q0 / 128; j >= 0; j--) {
      int2 r = range_of(range, 2 * j, blocks);
      if (apart(r, mine)) continue;
      int stage = n & 1;
      barrier_wait(free + 8 * stage, ((n >> 1) & 1) ^ 1);
      sign[stage] = j * 2 + one(r, mine);
      barrier_expect(ready + 8 * stage, 2 * TILE_BYTES);
      load_tile(keys + stage * TILE_BYTES, &mk, kv * D, row0 + j * 128, CHUNK_BYTES, ready + 8 * stage);
      load_tile(values + stage * TILE_BYTES, &mv, kv * D, row0 + j * 128, CHUNK_BYTES, ready + 8 * stage);
      n++;
    }
    int stage = n & 1;
    barrier_wait(free + 8 * stage, ((n >> 1) & 1) ^ 1);
    sign[stage] = NONE;
    barrier_arrive(ready + 8 * stage);
    return;
  }
  more_registers<240>();
  int half = t / 128 - 1, lane = t & 31, warp = (t >> 5) & 3, quad = lane & 3, row = q0 + half * 64 + warp * 16 + (lane >> 2), n = 0, x;
  const int* S = seg + row0;
  float base2 = scale * LOG2E, sum[D / 2], s[64], dp[64], l[2], delta[2];
  u32 p[32], ownQueries = queries + half * 8192, ownGrads = grads + half * 8192;
  UNROLL
  for (int i = 0; i < D / 2; i++) sum[i] = 0.f;
  barrier_wait(ownReady, 0);
  barrier_wait(ready, 0);
  x = sign[0];
  products_fence();
  scores(s, ownQueries, 128, keys, 128);
  products_commit();
  scores(dp, ownGrads, 128, values, 128);
  products_commit();
  UNROLL
  for (int e = 0; e < 2; e++) {
    // delta, a quarter of the row's columns a lane, while the first products run.
    int r = row + e * 8;
    u64 token = row0 + r;
    float z = 0.f;
    l[e] = 0.f;
    if (r < len) {
      const elem *a = out + token * ldo + h * D + quad * (D / 4), *b = ct + token * ldc + h * D + quad * (D / 4);
      UNROLL
      for (int i = 0; i < D / 32; i++) {
        float u[8], v[8];
        load8(u, a + i * 8);
        load8(v, b + i * 8);
        UNROLL
        for (int k = 0; k < 8; k++) z += u[k] * v[k];
      }
      l[e] = lse[token * heads + h] * LOG2E;
    }
    z += __shfl_xor_sync(~0u, z, 1);
    z += __shfl_xor_sync(~0u, z, 2);
    delta[e] = z;
    if (r < len && quad == 0) {
      stat[(u64)h * tokens + token] = l[e];
      stat[(u64)(heads + h) * tokens + token] = z;
    }
  }
  // The key kernel copies whole tiles of 64: past the end it has to find numbers, which its mask then drops.
  if (blockIdx.x + blockIdx.y + blockIdx.z == 0 && t >= 128 && t < 192) stat[(u64)2 * heads * tokens + t - 128] = 0.f;
  while (true) {
    int stage = n & 1, j = x >> 1;
    products_wait<1>();
    pin(s);
    UNROLL
    for (int i = 0; i < 64; i++) s[i] = power_of_two(fmaf(s[i], base2, -l[(i >> 1) & 1]));
    if (!((x & 1) && j * 128 + 127 <= q0 + half * 64)) {
      if (x & 1) hide<true>(s, S, row, j * 128, len, 0.f);
      else hide<false>(s, S, row, j * 128, len, 0.f);
    }
    products_wait<0>();
    pin(dp);
    UNROLL
    for (int i = 0; i < 32; i++) p[i] = pair(s[2 * i] * (dp[2 * i] - delta[i & 1]), s[2 * i + 1] * (dp[2 * i + 1] - delta[i & 1]));
    pin(sum);
    products_fence();
    accumulate<8>(sum, p, keys + stage * TILE_BYTES, 128);
    products_commit();
    int m = n + 1, then = m & 1;
    barrier_wait(ready + 8 * then, (m >> 1) & 1);
    x = sign[then];
    if (x == NONE) break;
    pin(s);
    products_fence();
    scores(s, ownQueries, 128, keys + then * TILE_BYTES, 128);
    products_commit();
    products_wait<1>();
    pin(sum);
    leave(free + 8 * stage);
    pin(dp);
    products_fence();
    scores(dp, ownGrads, 128, values + then * TILE_BYTES, 128);
    products_commit();
    n = m;
  }
  products_wait<0>();
  pin(sum);
  finish(sum, dq + h * D, lddq, row, len, row0, cosines, sines, scale);
}

// dk and dv: 128 keys a block; query tiles of 64 in DEEP stages. grid (kvHeads, ceil(len / 128), rows). Shared 1,024 + 2 tiles + DEEP·2 half tiles.
// The tensor maps of queries and cotangents have boxes of 64 rows. sign as above.
KERNEL __launch_bounds__(384, 1) attention_wgmma_keys(MAP mq, MAP mk, MAP mv, MAP mc, const int* seg, const int2* ranges, const float* stat, elem* dk, u32 lddk, elem* dv, u32 lddv,
                                                      const float* cosines, const float* sines, int heads, int group, int len, u32 tokens, float scale) {
  DYNAMIC_SHARED(u8, memory);
  __shared__ __align__(8) u64 barriers[1 + 2 * DEEP];
  __shared__ int sign[DEEP];
  __shared__ __align__(16) float stats[DEEP][128];
  u32 keys = aligned_memory(memory), values = keys + TILE_BYTES, queries = values + TILE_BYTES, grads = queries + DEEP * HALF_BYTES;
  u32 ownReady = shared_address(barriers), ready = ownReady + 8, free = ready + 8 * DEEP;
  int t = threadIdx.x, kv = blockIdx.x, k0 = blockIdx.y * 128, row0 = blockIdx.z * len;
  if (t == 0) {
    barrier_init(ownReady, 1);
    for (int i = 0; i < DEEP; i++) {
      barrier_init(ready + 8 * i, 1);
      barrier_init(free + 8 * i, 8);
    }
    barriers_ready();
  }
  __syncthreads();
  if (t < 128) {
    fewer_registers<24>();
    if (t) return;
    barrier_expect(ownReady, 2 * TILE_BYTES);
    load_tile(keys, &mk, kv * D, row0 + k0, CHUNK_BYTES, ownReady);
    load_tile(values, &mv, kv * D, row0 + k0, CHUNK_BYTES, ownReady);
    int blocks = (len + 63) / 64, n = 0;
    const int2* range = ranges + blockIdx.z * blocks;
    int2 mine = range_of(range, k0 / 64, blocks);
    for (int h = kv * group; h < (kv + 1) * group; h++)
      for (int i = k0 / 64; i < blocks; i++) {
        if (apart(range[i], mine)) continue;
        int stage = n % DEEP;
        u32 full = ready + 8 * stage, to = shared_address(stats[stage]);
        barrier_wait(free + 8 * stage, ((n / DEEP) & 1) ^ 1);
        sign[stage] = i * 2 + one(range[i], mine);
        barrier_expect(full, 2 * HALF_BYTES + 512);
        load_tile(queries + stage * HALF_BYTES, &mq, h * D, row0 + i * 64, CHUNK_BYTES / 2, full);
        load_tile(grads + stage * HALF_BYTES, &mc, h * D, row0 + i * 64, CHUNK_BYTES / 2, full);
        bulk_load(to, stat + (u64)h * tokens + row0 + i * 64, 256, full);
        bulk_load(to + 256, stat + (u64)(heads + h) * tokens + row0 + i * 64, 256, full);
        n++;
      }
    int stage = n % DEEP;
    barrier_wait(free + 8 * stage, ((n / DEEP) & 1) ^ 1);
    sign[stage] = NONE;
    barrier_arrive(ready + 8 * stage);
    return;
  }
  more_registers<240>();
  int half = t / 128 - 1, lane = t & 31, warp = (t >> 5) & 3, quad = lane & 3, row = k0 + half * 64 + warp * 16 + (lane >> 2), stage = 0, parity = 0, x;
  const int* S = seg + row0;
  float base2 = scale * LOG2E, sumk[D / 2], sumv[D / 2], s[32], dp[32];
  u32 p[16], ds[16], ownKeys = keys + half * 8192, ownValues = values + half * 8192;
  UNROLL
  for (int i = 0; i < D / 2; i++) sumk[i] = sumv[i] = 0.f;
  barrier_wait(ownReady, 0);
  barrier_wait(ready, 0);
  x = sign[0];
  if (x != NONE) {
    products_fence();
    scores(s, ownKeys, 128, queries, 64);
    products_commit();
    scores(dp, ownValues, 128, grads, 64);
    products_commit();
    while (true) {
      int q0 = (x >> 1) * 64;
      const float2* l = (const float2*)stats[stage] + quad;
      products_wait<1>();
      pin(s);
      UNROLL
      for (int i = 0; i < 8; i++) {
        float2 a = l[i * 4];
        s[i * 4] = power_of_two(fmaf(s[i * 4], base2, -a.x));
        s[i * 4 + 1] = power_of_two(fmaf(s[i * 4 + 1], base2, -a.y));
        s[i * 4 + 2] = power_of_two(fmaf(s[i * 4 + 2], base2, -a.x));
        s[i * 4 + 3] = power_of_two(fmaf(s[i * 4 + 3], base2, -a.y));
      }
      if (!((x & 1) && q0 >= k0 + half * 64 + 63 && q0 + 64 <= len)) {
        // One form for both cases: split by case, it spills.
        bool single = x & 1;
        int own0 = S[min(row, len - 1)], own1 = S[min(row + 8, len - 1)];
        UNROLL
        for (int i = 0; i < 8; i++)
          UNROLL
          for (int c = 0; c < 2; c++) {
            int at = q0 + i * 8 + quad * 2 + c, other = single ? own0 : S[min(at, len - 1)];
            if (at >= len || row > at || (!single && other != own0)) s[i * 4 + c] = 0.f;
            if (at >= len || row + 8 > at || (!single && other != own1)) s[i * 4 + 2 + c] = 0.f;
          }
      }
      UNROLL
      for (int i = 0; i < 16; i++) p[i] = pair(s[2 * i], s[2 * i + 1]);
      pin(sumv);
      products_fence();
      accumulate<4>(sumv, p, grads + stage * HALF_BYTES, 64);
      products_commit();
      products_wait<1>();
      pin(dp);
      UNROLL
      for (int i = 0; i < 8; i++) {
        float2 a = l[32 + i * 4];
        ds[2 * i] = pair(s[i * 4] * (dp[i * 4] - a.x), s[i * 4 + 1] * (dp[i * 4 + 1] - a.y));
        ds[2 * i + 1] = pair(s[i * 4 + 2] * (dp[i * 4 + 2] - a.x), s[i * 4 + 3] * (dp[i * 4 + 3] - a.y));
      }
      pin(sumk);
      products_fence();
      accumulate<4>(sumk, ds, queries + stage * HALF_BYTES, 64);
      products_commit();
      int then = stage + 1 == DEEP ? 0 : stage + 1, flipped = then ? parity : parity ^ 1;
      barrier_wait(ready + 8 * then, flipped);
      x = sign[then];
      if (x == NONE) break;
      // One group is waited for before each issue: with four in flight the registers do not suffice, and the compiler serializes (C7512).
      products_wait<1>();
      pin(sumv);
      pin(s);
      products_fence();
      scores(s, ownKeys, 128, queries + then * HALF_BYTES, 64);
      products_commit();
      products_wait<1>();
      pin(sumk);
      leave(free + 8 * stage);
      pin(dp);
      products_fence();
      scores(dp, ownValues, 128, grads + then * HALF_BYTES, 64);
      products_commit();
      stage = then;
      parity = flipped;
    }
    products_wait<0>();
    pin(sumk);
    pin(sumv);
  }
  finish(sumk, dk + kv * D, lddk, row, len, row0, cosines, sines, scale);
  finish(sumv, dv + kv * D, lddv, row, len, row0, (const float*)0, (const float*)0, 1.f);
}
