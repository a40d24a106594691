// Causal grouped-head attention over packed rows on the tensor cores of every GPU that has them (mma.sync, ldmatrix; cp.async from sm_80).
// Nothing quadratic is stored: scores live in registers, and the backward makes them again from the log-sum-exp.
// D: width of a head (16, 32, 64, 96, 128). WARPS: warps of the forward, 16 queries each. STAGES: 2 tiles of keys in flight, or 1 where
// shared memory is short (Turing). Keys and queries are walked in tiles of 64; the order is fixed, so results are the same every time.
// `ranges` holds the lowest and highest segment of every 64 tokens of a row: two tiles whose ranges are apart are skipped, and two of one
// single segment, one behind the other, need no mask. Right for any segments, sharp where they are sorted.
// `stat` is f32 [2][heads][T]: log-sum-exp in base 2, and delta = Σ out·ct; the query kernel writes what the key kernel reads.
#define CHUNKS (D / 8)
#define TILE_BYTES (64 * D * 2)
#define QUERIES (16 * WARPS)
#define UNROLL _Pragma("unroll")

// A tile is [rows][D], 16-byte chunks permuted within a row so that eight rows of one column meet eight different banks.
DEV int permuted(int row, int chunk) {
#if D % 64 == 0
  return chunk ^ (row & 7);
#elif D == 16
  return chunk ^ ((row >> 2) & 1);
#elif D == 32
  return chunk ^ ((row >> 1) & 3);
#else
  return chunk ^ (row & 3);
#endif
}
DEV u32 cell(u32 tile, int row, int chunk) { return tile + (row * CHUNKS + permuted(row, chunk)) * 16; }
// Rows beyond the sequence are zeros.
template <int ROWS, int THREADS> DEV void fetch(u32 tile, const elem* from, u32 ld, int first, int len) {
  UNROLL
  for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
    int row = i / CHUNKS, chunk = i % CHUNKS;
    bool there = first + row < len;
    copy16(cell(tile, row, chunk), from + (u64)(there ? first + row : 0) * ld + chunk * 8, there);
  }
}

// Operands of the products, as lanes hold them. left: 16 rows × 16 columns of a tile; right: 16 columns of n × 16 of k, stored [n][k];
// right_transposed: the same, stored [k][n]. The right ones are two operands of 8 columns each.
DEV void left(u32* a, u32 tile, int row, int k) {
  int l = threadIdx.x & 31;
  load_matrices(a, cell(tile, row + (l & 15), k * 2 + (l >> 4)));
}
DEV void right(u32* b, u32 tile, int n, int k) {
  int l = threadIdx.x & 31;
  load_matrices(b, cell(tile, n + ((l >> 4) << 3) + (l & 7), k * 2 + ((l >> 3) & 1)));
}
DEV void right_transposed(u32* b, u32 tile, int k, int n) {
  int l = threadIdx.x & 31;
  load_matrices_transposed(b, cell(tile, k + (((l >> 3) & 1) << 3) + (l & 7), n * 2 + (l >> 4)));
}
DEV void multiply(float* c, const u32* a, const u32* b) { mma(c, a, b, (const elem*)0); }
DEV u32 pair(float lo, float hi) { return pack(lo, hi, (const elem*)0); }

// s[16×64] = rows of a (from `row`) · 64 rows of b
DEV void scores(float (&s)[8][4], u32 a, int row, u32 b) {
  UNROLL
  for (int k = 0; k < D / 16; k++) {
    u32 x[4];
    left(x, a, row, k);
    UNROLL
    for (int n = 0; n < 4; n++) {
      u32 y[4];
      right(y, b, n * 16, k);
      multiply(s[2 * n], x, y);
      multiply(s[2 * n + 1], x, y + 2);
    }
  }
}
// sum[16×D] += p[16×64] · 64 rows of b
DEV void accumulate(float (&sum)[D / 8][4], const u32 (&p)[4][4], u32 b) {
  UNROLL
  for (int k = 0; k < 4; k++)
    UNROLL
    for (int n = 0; n < D / 16; n++) {
      u32 y[4];
      right_transposed(y, b, k * 16, n);
      multiply(sum[2 * n], p[k], y);
      multiply(sum[2 * n + 1], p[k], y + 2);
    }
}

DEV bool apart(int2 a, int2 b) { return a.y < b.x || a.x > b.y; }
DEV bool one(int2 a, int2 b) { return a.x == a.y && b.x == b.y && a.x == b.x; }

// Also sets the counter to 0 from which the Hopper forward draws its tiles. grid (ceil(len / 64), R), 32 threads
KERNEL __launch_bounds__(32) segment_ranges(const int* seg, int2* ranges, int* counter, u32 len) {
  if (blockIdx.x + blockIdx.y + threadIdx.x == 0) *counter = 0;
  const int* s = seg + (u64)blockIdx.y * len;
  int lo = 0x7fffffff, hi = -0x7fffffff - 1;
  for (u32 i = blockIdx.x * 64 + threadIdx.x; i < min(len, blockIdx.x * 64 + 64); i += 32) {
    lo = min(lo, s[i]);
    hi = max(hi, s[i]);
  }
  for (int o = 16; o; o >>= 1) {
    lo = min(lo, __shfl_xor_sync(~0u, lo, o));
    hi = max(hi, __shfl_xor_sync(~0u, hi, o));
  }
  if (threadIdx.x == 0) ranges[blockIdx.y * gridDim.x + blockIdx.x] = make_int2(lo, hi);
}

// The epilogue of a gradient: 16 rows of this warp times k, optionally turned back by the rotary tables (f32 [T, D/2]), rounded, stored.
// A lane holds columns j and j + D/2 of the same row, so turning needs no exchange.
DEV void finish(const float (&a)[D / 8][4], elem* to, u32 ld, int row, int len, u64 first, const float* cosines, const float* sines, float k) {
  int quad = threadIdx.x & 3;
  UNROLL
  for (int e = 0; e < 2; e++) {
    int r = row + e * 8;
    if (r >= len) continue;
    u32* p = (u32*)(to + (first + r) * ld + quad * 2);
    UNROLL
    for (int i = 0; i < D / 16; i++) {
      float x0 = a[i][2 * e] * k, x1 = a[i][2 * e + 1] * k, y0 = a[i + D / 16][2 * e] * k, y1 = a[i + D / 16][2 * e + 1] * k;
      if (cosines) {
        u64 table = (first + r) * (D / 2) + i * 8 + quad * 2;
        float c0 = cosines[table], c1 = cosines[table + 1], s0 = sines[table], s1 = sines[table + 1];
        float u0 = x0 * c0 + y0 * s0, u1 = x1 * c1 + y1 * s1;
        y0 = y0 * c0 - x0 * s0;
        y1 = y1 * c1 - x1 * s1;
        x0 = u0;
        x1 = u1;
      }
      p[i * 4] = pair(x0, x1);
      p[(i + D / 16) * 4] = pair(y0, y1);
    }
  }
}

// grid (heads, R, ceil(len / QUERIES)), the longest tiles first. Shared: (QUERIES + STAGES·128)·D elements.
KERNEL __launch_bounds__(WARPS * 32) attention_mma(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, const int2* ranges,
                                                   elem* out, u32 ldo, float* lse, u32 heads, u32 group, int len, float scale) {
  DYNAMIC_SHARED(uint4, memory);
  u32 queries = shared_address(memory), keys = queries + QUERIES * D * 2, values = keys + STAGES * TILE_BYTES;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.x, tiles = (len + 63) / 64;
  int q0 = (gridDim.z - 1 - blockIdx.z) * QUERIES, row = q0 + warp * 16 + (lane >> 2), quad = lane & 3;
  u64 first = (u64)blockIdx.y * len;
  const elem *Q = q + first * ldq + h * D, *K = k + first * ldk + h / group * D, *V = v + first * ldv + h / group * D;
  const int* S = seg + first;
  const int2* range = ranges + blockIdx.y * tiles;
  int2 mine = make_int2(0x7fffffff, -0x7fffffff - 1);
  for (int i = q0 / 64; i < tiles && i * 64 < q0 + QUERIES; i++) mine = make_int2(min(mine.x, range[i].x), max(mine.y, range[i].y));
  int end = min(tiles, (q0 + QUERIES + 63) / 64);
  auto next = [&](int j) {
    while (j < end && apart(range[j], mine)) j++;
    return j;
  };
  auto load = [&](int j, int stage) {
    fetch<64, WARPS * 32>(keys + stage * TILE_BYTES, K, ldk, j * 64, len);
    fetch<64, WARPS * 32>(values + stage * TILE_BYTES, V, ldv, j * 64, len);
  };
  int j = next(0), stage = 0;
  fetch<QUERIES, WARPS * 32>(queries, Q, ldq, q0, len);
  load(j, 0);
  copies_commit();
  float sum[D / 8][4] = {}, top[2] = {-INF, -INF}, norm[2] = {}, base2 = scale * LOG2E;
  u32 held[D / 16][4];
  bool fresh = true;
  while (j < end) {
    int after = next(j + 1);
    if (STAGES == 2) {
      if (after < end) load(after, stage ^ 1);
      copies_commit();
    }
    copies_wait<STAGES - 1>();
    __syncthreads();
    u32 keyTile = keys + stage * TILE_BYTES, valueTile = values + stage * TILE_BYTES;
    if (fresh) {
      fresh = false;
      UNROLL
      for (int i = 0; i < D / 16; i++) left(held[i], queries, warp * 16, i);
    }
    float s[8][4] = {};
    UNROLL
    for (int i = 0; i < D / 16; i++)
      UNROLL
      for (int n = 0; n < 4; n++) {
        u32 y[4];
        right(y, keyTile, n * 16, i);
        multiply(s[2 * n], held[i], y);
        multiply(s[2 * n + 1], held[i], y + 2);
      }
    if (!(one(range[j], mine) && j * 64 + 63 <= q0 + warp * 16)) {
      UNROLL
      for (int e = 0; e < 2; e++) {
        int i = row + e * 8, own = i < len ? S[i] : 0;
        UNROLL
        for (int n = 0; n < 8; n++)
          UNROLL
          for (int c = 0; c < 2; c++) {
            int at = j * 64 + n * 8 + quad * 2 + c;
            if (at > i || at >= len || S[at] != own) s[n][e * 2 + c] = -INF;
          }
      }
    }
    u32 p[4][4];
    UNROLL
    for (int e = 0; e < 2; e++) {
      float best = top[e];
      UNROLL
      for (int n = 0; n < 8; n++) best = fmaxf(best, fmaxf(s[n][2 * e], s[n][2 * e + 1]));
      best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
      best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
      // A row that has seen nothing yet keeps weights of 0, not of ∞ − ∞.
      float shift = best == -INF ? 0.f : best * base2, fade = power_of_two(top[e] * base2 - shift), total = 0.f;
      top[e] = best;
      UNROLL
      for (int n = 0; n < 8; n++) {
        s[n][2 * e] = power_of_two(fmaf(s[n][2 * e], base2, -shift));
        s[n][2 * e + 1] = power_of_two(fmaf(s[n][2 * e + 1], base2, -shift));
        total += s[n][2 * e] + s[n][2 * e + 1];
        p[n >> 1][(n & 1) * 2 + e] = pair(s[n][2 * e], s[n][2 * e + 1]);
      }
      norm[e] = norm[e] * fade + total;
      UNROLL
      for (int n = 0; n < D / 8; n++) {
        sum[n][2 * e] *= fade;
        sum[n][2 * e + 1] *= fade;
      }
    }
    accumulate(sum, p, valueTile);
    __syncthreads();
    if (STAGES == 1 && after < end) {
      load(after, 0);
      copies_commit();
    }
    j = after;
    stage ^= STAGES - 1;
  }
  UNROLL
  for (int e = 0; e < 2; e++) {
    float total = norm[e];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int i = row + e * 8;
    if (i >= len) continue;
    float by = 1.f / total;
    u32* to = (u32*)(out + (first + i) * ldo + h * D + quad * 2);
    UNROLL
    for (int n = 0; n < D / 8; n++) to[n * 4] = pair(sum[n][2 * e] * by, sum[n][2 * e + 1] * by);
    if (quad == 0) lse[(first + i) * heads + h] = top[e] * scale + logf(total);
  }
}

// dq and stat. 4 warps of 16 queries; S = Q·Kᵀ, dP = dO·Vᵀ, dQ += dS·K. grid (heads, R, ceil(len / 64)), the longest first.
// Shared: (128 + STAGES·128)·D elements.
KERNEL __launch_bounds__(128) attention_mma_queries(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, const int2* ranges,
                                                    const elem* out, u32 ldo, const elem* ct, u32 ldc, const float* lse, float* stat, elem* dq, u32 lddq,
                                                    const float* cosines, const float* sines, u32 heads, u32 group, int len, u32 tokens, float scale) {
  DYNAMIC_SHARED(uint4, memory);
  u32 queries = shared_address(memory), grads = queries + TILE_BYTES, keys = grads + TILE_BYTES, values = keys + STAGES * TILE_BYTES;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.x, quad = lane & 3, tile = gridDim.z - 1 - blockIdx.z, q0 = tile * 64;
  int row = q0 + warp * 16 + (lane >> 2), tiles = (len + 63) / 64;
  u64 first = (u64)blockIdx.y * len;
  const elem *K = k + first * ldk + h / group * D, *V = v + first * ldv + h / group * D, *O = out + first * ldo + h * D, *G = ct + first * ldc + h * D;
  const int* S = seg + first;
  const int2* range = ranges + blockIdx.y * tiles;
  int2 mine = range[tile];
  auto next = [&](int j) {
    while (j <= tile && apart(range[j], mine)) j++;
    return j;
  };
  auto load = [&](int j, int stage) {
    fetch<64, 128>(keys + stage * TILE_BYTES, K, ldk, j * 64, len);
    fetch<64, 128>(values + stage * TILE_BYTES, V, ldv, j * 64, len);
  };
  int j = next(0), stage = 0;
  fetch<64, 128>(queries, q + first * ldq + h * D, ldq, q0, len);
  fetch<64, 128>(grads, G, ldc, q0, len);
  load(j, 0);
  copies_commit();
  float sum[D / 8][4] = {}, l[2], delta[2], base2 = scale * LOG2E;
  UNROLL
  for (int e = 0; e < 2; e++) {
    // A row's delta: a quarter of its columns a lane.
    int i = row + e * 8;
    float z = 0.f;
    l[e] = 0.f;
    if (i < len) {
      for (int c = quad * 2; c < D; c += 8) {
        u32 x = *(const u32*)(O + (u64)i * ldo + c), y = *(const u32*)(G + (u64)i * ldc + c);
        const elem* type = 0;
        z += low(x, type) * low(y, type) + high(x, type) * high(y, type);
      }
      l[e] = lse[(first + i) * heads + h] * LOG2E;
    }
    z += __shfl_xor_sync(~0u, z, 1);
    z += __shfl_xor_sync(~0u, z, 2);
    delta[e] = z;
    if (i < len && quad == 0) {
      stat[(u64)h * tokens + first + i] = l[e];
      stat[(u64)(heads + h) * tokens + first + i] = z;
    }
  }
  while (j <= tile) {
    int after = next(j + 1);
    if (STAGES == 2) {
      if (after <= tile) load(after, stage ^ 1);
      copies_commit();
    }
    copies_wait<STAGES - 1>();
    __syncthreads();
    u32 keyTile = keys + stage * TILE_BYTES, valueTile = values + stage * TILE_BYTES, ds[4][4];
    float s[8][4] = {}, dp[8][4] = {};
    scores(s, queries, warp * 16, keyTile);
    scores(dp, grads, warp * 16, valueTile);
    bool whole = one(range[j], mine) && j < tile && q0 + 64 <= len;
    UNROLL
    for (int n = 0; n < 8; n++)
      UNROLL
      for (int e = 0; e < 2; e++) {
        float x[2];
        UNROLL
        for (int c = 0; c < 2; c++) {
          float p = power_of_two(fmaf(s[n][2 * e + c], base2, -l[e]));
          if (!whole) {
            int i = row + e * 8, at = j * 64 + n * 8 + quad * 2 + c;
            if (at > i || i >= len || S[i] != S[at]) p = 0.f;
          }
          x[c] = p * (dp[n][2 * e + c] - delta[e]);
        }
        ds[n >> 1][(n & 1) * 2 + e] = pair(x[0], x[1]);
      }
    accumulate(sum, ds, keyTile);
    __syncthreads();
    if (STAGES == 1 && after <= tile) {
      load(after, 0);
      copies_commit();
    }
    j = after;
    stage ^= STAGES - 1;
  }
  finish(sum, dq + h * D, lddq, row, len, first, cosines, sines, scale);
}

// dk and dv: 64 keys a block, 4 warps of 16; walks the query tiles of every head of the group. Sᵀ = K·Qᵀ and dPᵀ = V·dOᵀ stay in registers
// as left operands of dV += Pᵀ·dO and dK += dSᵀ·Q. grid (kvHeads, R, ceil(len / 64)); key tile 0, the longest, first.
// Shared: (128 + STAGES·128)·D elements, and STAGES·128 floats of stat where there are two stages.
KERNEL __launch_bounds__(128) attention_mma_keys(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, const int2* ranges,
                                                 const elem* ct, u32 ldc, const float* stat, elem* dk, u32 lddk, elem* dv, u32 lddv,
                                                 const float* cosines, const float* sines, u32 heads, u32 group, int len, u32 tokens, float scale) {
  DYNAMIC_SHARED(uint4, memory);
  u32 keys = shared_address(memory), values = keys + TILE_BYTES, queries = values + TILE_BYTES, grads = queries + STAGES * TILE_BYTES;
  float* stats = (float*)((char*)memory + (2 + 2 * STAGES) * TILE_BYTES);
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, kv = blockIdx.x, quad = lane & 3, tile = blockIdx.z, k0 = tile * 64;
  int row = k0 + warp * 16 + (lane >> 2), tiles = (len + 63) / 64, end = tiles * (int)group;
  u64 first = (u64)blockIdx.y * len;
  const int* S = seg + first;
  const int2* range = ranges + blockIdx.y * tiles;
  int2 mine = range[tile];
  // Work item i: query tile i % tiles of head i / tiles of the group.
  auto next = [&](int i) {
    while (i < end) {
      int t = i % tiles;
      if (t < tile) i += tile - t;
      else if (apart(range[t], mine)) i++;
      else break;
    }
    return i;
  };
  auto load = [&](int i, int stage) {
    int h = kv * (int)group + i / tiles, q0 = i % tiles * 64;
    fetch<64, 128>(queries + stage * TILE_BYTES, q + first * ldq + h * D, ldq, q0, len);
    fetch<64, 128>(grads + stage * TILE_BYTES, ct + first * ldc + h * D, ldc, q0, len);
    if (STAGES == 2) {
      int r = threadIdx.x & 63, which = threadIdx.x >> 6;
      stats[stage * 128 + threadIdx.x] = q0 + r < len ? stat[(u64)(which * heads + h) * tokens + first + q0 + r] : 0.f;
    }
  };
  int i = next(0), stage = 0;
  fetch<64, 128>(keys, k + first * ldk + kv * D, ldk, k0, len);
  fetch<64, 128>(values, v + first * ldv + kv * D, ldv, k0, len);
  if (i < end) load(i, 0);
  copies_commit();
  float sumk[D / 8][4] = {}, sumv[D / 8][4] = {}, base2 = scale * LOG2E;
  while (i < end) {
    int after = next(i + 1);
    if (STAGES == 2) {
      if (after < end) load(after, stage ^ 1);
      copies_commit();
    }
    copies_wait<STAGES - 1>();
    __syncthreads();
    u32 queryTile = queries + stage * TILE_BYTES, gradTile = grads + stage * TILE_BYTES, p[4][4], ds[4][4];
    float s[8][4] = {}, dp[8][4] = {};
    scores(s, keys, warp * 16, queryTile);
    scores(dp, values, warp * 16, gradTile);
    int t = i % tiles;
    const float* l = STAGES == 2 ? stats + stage * 128 : stat + (u64)(kv * group + i / tiles) * tokens + first + t * 64;
    const float* delta = STAGES == 2 ? l + 64 : l + (u64)heads * tokens;
    bool whole = one(range[t], mine) && t > tile && t * 64 + 64 <= len;
    UNROLL
    for (int n = 0; n < 8; n++)
      UNROLL
      for (int e = 0; e < 2; e++) {
        float x[2], y[2];
        UNROLL
        for (int c = 0; c < 2; c++) {
          int column = n * 8 + quad * 2 + c, at = t * 64 + column;
          x[c] = y[c] = 0.f;
          if (whole || (row + e * 8 <= at && at < len && S[at] == S[row + e * 8])) {
            x[c] = power_of_two(fmaf(s[n][2 * e + c], base2, -l[column]));
            y[c] = x[c] * (dp[n][2 * e + c] - delta[column]);
          }
        }
        p[n >> 1][(n & 1) * 2 + e] = pair(x[0], x[1]);
        ds[n >> 1][(n & 1) * 2 + e] = pair(y[0], y[1]);
      }
    accumulate(sumv, p, gradTile);
    accumulate(sumk, ds, queryTile);
    __syncthreads();
    if (STAGES == 1 && after < end) {
      load(after, 0);
      copies_commit();
    }
    i = after;
    stage ^= STAGES - 1;
  }
  finish(sumk, dk + kv * D, lddk, row, len, first, cosines, sines, scale);
  finish(sumv, dv + kv * D, lddv, row, len, first, (const float*)0, (const float*)0, 1.f);
}
