// y[r, n] = Σ x[r, k]·W[n, k] for a handful of rows of x, straight from 4-bit codes: bound by the codes' bytes, and close behind by instructions and
// shared memory. Products run on the tensor cores with W as the 16×16 operand: a table in shared memory turns a byte of codes into the pair that a
// fragment holds, one copy of it a bank, so no two lanes collide. Within a block of 64 codes the inner dimension is taken in the order that gives
// each lane 8 neighbouring bytes. A block's sum is scaled once, in f32, so a weight is its codebook value rounded to `elem` times an f32 scale.
// A tile is 16 rows of W (PAIR: 8 rows each of two matrices, whose results meet in a swiglu); WARPS warps share it and split the inner dimension;
// blocks of threads take tiles in turn. TILES·8 ≥ rows of x. Sums are joined in a fixed order.
#ifndef TILES
#define TILES 1
#endif
#ifndef PAIR
#define PAIR 0
#endif
// 64-blocks of a piece: 4, or 2 where there are few.
#ifndef BLOCKS
#define BLOCKS 4
#endif
// Whether scales are codes of 8 bit with scales of their own.
#ifndef NESTED
#define NESTED 1
#endif
#define SETS ((BLOCKS + 3) / 4)
// Bytes of shared memory: pairs of codes, then the values of scales' codes.
#define MAP_AT 32768
#define X_AT (MAP_AT + 1024)
// Floats between the rows of a tile's sums: no two lanes of a fragment collide.
#define SUM_ROW 20

struct Codes { u32 x, y; };
#ifdef EMULATED
DEV Codes codes_at(const u8* p) { return *(const Codes*)p; }
DEV uint4 wide_at(const void* p) { return *(const uint4*)p; }
DEV void prefetch(const void*) {}
#else
DEV Codes codes_at(const u8* p) {
  Codes v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.b32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
DEV uint4 wide_at(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}
// Into L2; nobody waits for it.
DEV void prefetch(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
// Barriers among some warps: `leave` does not wait.
DEV void barrier_meet(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DEV void barrier_leave(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
#define RELAX()
#endif

// A matrix and where its results go, with its adapter: b f32 [n, rank], of the low-rank columns the ones from `at` on.
struct Matrix { const u8* codes; const u8* scales; const float* nested; const float* mean; u32 n; elem* out; u32 ldo; const float* b; u32 rank, at; };
#define MATRIX(i) const u8 *codes##i, const u8 *scales##i, const float *nested##i, const float *mean##i, u32 n##i, elem *out##i, u32 ldo##i, const float *b##i, u32 rank##i, u32 at##i
#define GIVEN(i) Matrix{codes##i, scales##i, nested##i, mean##i, n##i, out##i, ldo##i, b##i, rank##i, at##i}

// So that the compiler knows it to be one number for all lanes.
DEV u32 warp_of() { return __shfl_sync(~0u, threadIdx.x >> 5, 0); }
DEV u32 tiles_of(u32 n) { return (n + 15) >> 4; }

// The matrix of a tile and the tile's place in it.
DEV Matrix choose(u32& tile, const Matrix& m0, const Matrix& m1, const Matrix& m2) {
  if (PAIR || tile < tiles_of(m0.n)) return m0;
  tile -= tiles_of(m0.n);
  if (tile < tiles_of(m1.n)) return m1;
  tile -= tiles_of(m1.n);
  return m2;
}

// What a lane has of a piece: of each block 8 bytes of codes of two rows, and the scales of blocks lane % 4 + 4·i.
struct Piece { Codes codes[2][BLOCKS]; u32 code[2][SETS]; float nested[2][SETS], mean[2]; };
// Where the codes of a lane's two rows lie at a piece.
struct Source { const u8* codes[2]; };

// lane = 4·g + t: rows g and g + 8 of the tile, of a pair row g of each; bytes from 8·t on of each block. Rows beyond the matrix repeat its last.
// Asks for the scales; of blocks from `last` on they stay what they were.
DEV Source begin(Piece& p, const Matrix& m0, const Matrix& m1, const Matrix& m2, u32 tile, u32 block, u32 last, u32 perRow) {
  u32 lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  Matrix m = choose(tile, m0, m1, m2);
  Source s;
#pragma unroll
  for (u32 h = 0; h < 2; h++) {
    if (PAIR && h == 1) m = m1;
    u32 at = min(PAIR ? tile * 8 + g : tile * 16 + g + 8 * h, m.n - 1) * perRow + block;
    s.codes[h] = m.codes + (u64)at * 32 + 8 * t;
    if (NESTED) p.mean[h] = __ldg(m.mean);
#pragma unroll
    for (u32 i = 0; i < SETS; i++) {
      u32 b = t + 4 * i;
      if (b < BLOCKS && block + b < last) {
        if (NESTED) {
          p.code[h][i] = __ldg(m.scales + at + b);
          p.nested[h][i] = __ldg(m.nested + ((at + b) >> 8));
        } else p.nested[h][i] = __ldg((const float*)m.scales + at + b);
      }
    }
  }
  return s;
}
// Asks for the codes of the piece's b-th block.
DEV void ask(Piece& p, const Source& s, u32 b) {
  p.codes[0][b] = codes_at(s.codes[0] + 32 * b);
  p.codes[1][b] = codes_at(s.codes[1] + 32 * b);
}
DEV void nothing(Piece& p) {
#pragma unroll
  for (u32 h = 0; h < 2; h++) {
#pragma unroll
    for (u32 b = 0; b < BLOCKS; b++) p.codes[h][b] = Codes{0, 0};
#pragma unroll
    for (u32 i = 0; i < SETS; i++) {
      p.code[h][i] = 0;
      p.nested[h][i] = 0.f;
    }
    p.mean[h] = 0.f;
  }
}
// The scales that have come.
DEV void scales_of(float (&scale)[2][SETS], const Piece& p, const u8* shared) {
  const float* map = (const float*)(shared + MAP_AT);
#pragma unroll
  for (u32 h = 0; h < 2; h++)
#pragma unroll
    for (u32 i = 0; i < SETS; i++) scale[h][i] = NESTED ? __fadd_rn(__fmul_rn(map[p.code[h][i]], p.nested[h][i]), p.mean[h]) : p.nested[h][i];
}

// Two codes of byte k as a pair, the first one low: from the lane's column of the table. Two instructions for its place.
DEV u32 pair(const u8* table, u32 column, u32 word, u32 k) {
  u32 up = k == 0 ? word << 7 : word >> (8 * k - 7);
  return *(const u32*)(table + ((up & 0x7f80u) | column));
}
// The 16×16 operand of step s of a block.
DEV void weights(u32 (&a)[4], const u8* table, u32 column, const Piece& p, u32 b, u32 s) {
  u32 k = 2 * (s & 1), lo = s < 2 ? p.codes[0][b].x : p.codes[0][b].y, hi = s < 2 ? p.codes[1][b].x : p.codes[1][b].y;
  a[0] = pair(table, column, lo, k);
  a[1] = pair(table, column, hi, k);
  a[2] = pair(table, column, lo, k + 1);
  a[3] = pair(table, column, hi, k + 1);
}
// A block's sums, scaled, into those of the tile.
DEV void scaled(float (&sum)[TILES][4], const float (&c)[TILES][4], const float (&scale)[2][SETS], u32 b) {
  u32 from = (threadIdx.x & 28) | (b & 3);
  float lo = __shfl_sync(~0u, scale[0][b / 4], from), hi = __shfl_sync(~0u, scale[1][b / 4], from);
#pragma unroll
  for (u32 n = 0; n < TILES; n++) {
    sum[n][0] = fmaf(lo, c[n][0], sum[n][0]);
    sum[n][1] = fmaf(lo, c[n][1], sum[n][1]);
    sum[n][2] = fmaf(hi, c[n][2], sum[n][2]);
    sum[n][3] = fmaf(hi, c[n][3], sum[n][3]);
  }
}

DEV void fill_table(u8* shared) {
  elem* as = 0;
  // A thread fills half a row; the order of its four pieces turns with the row, so that no two threads meet in a bank.
  for (u32 i = threadIdx.x; i < 512; i += blockDim.x) {
    u32 entry = i >> 1, v = pack(code_value(entry >> 4), code_value(entry & 15), as);
    uint4* row = (uint4*)((u32*)shared + entry * 32 + (i & 1) * 16);
#pragma unroll
    for (u32 j = 0; j < 4; j++) row[(j + entry) & 3] = make_uint4(v, v, v, v);
  }
  if (NESTED)
    for (u32 i = threadIdx.x; i < 256; i += blockDim.x) ((float*)(shared + MAP_AT))[i] = dynamic_value(i);
}

DEV float row_scale(float squares, u32 width, float eps) { return 1.f / sqrtf(squares / (float)width + eps); }
DEV void unpack8(float (&x)[8], const uint4& v) {
  const elem* as = 0;
  x[0] = low(v.x, as); x[1] = high(v.x, as); x[2] = low(v.y, as); x[3] = high(v.y, as);
  x[4] = low(v.z, as); x[5] = high(v.z, as); x[6] = low(v.w, as); x[7] = high(v.w, as);
}
// Eight neighbours as they are stored; every row that is read so begins at a multiple of 16 bytes.
DEV uint4 eight(const elem* p) { return *(const uint4*)p; }
DEV float squares_of(const uint4& v) {
  float x[8], s = 0.f;
  unpack8(x, v);
#pragma unroll
  for (u32 k = 0; k < 8; k++) s += x[k] * x[k];
  return s;
}
DEV void store_normed(elem* to, const uint4& v, const uint4& w, float s) {
  float x[8], g[8];
  unpack8(x, v);
  unpack8(g, w);
#pragma unroll
  for (u32 k = 0; k < 8; k++) x[k] = x[k] * s * g[k];
  store8(to, x);
}

// `count` columns from `from` on of all rows of x into shared memory, zeros behind them up to `padded`; with w the whole rows, normed.
// Several loads of a thread are on their way at a time. `scales`: shared, one a row.
DEV void stage(elem* xs, u32 lds, const elem* x, u32 ldx, const elem* w, float eps, u32 rows, u32 from, u32 count, u32 padded, float* scales) {
  const u32 MANY = 4;
  u32 per = count >> 3, all = rows * per, empty = (padded - count) >> 3, n = blockDim.x;
  for (u32 i = threadIdx.x; i < rows * empty; i += n) *(uint4*)(xs + i / empty * lds + count + i % empty * 8) = make_uint4(0, 0, 0, 0);
  // A row that the threads hold at once.
  bool held = w && rows == 1 && all <= MANY * n;
  for (u32 base = threadIdx.x; base < all || (held && base < n); base += MANY * n) {
    uint4 v[MANY], g[MANY];
    float squares = 0.f;
#pragma unroll
    for (u32 j = 0; j < MANY; j++) {
      u32 i = base + j * n, r = i / per, c = (i - r * per) * 8;
      if (i >= all) continue;
      v[j] = eight(x + (u64)r * ldx + from + c);
      if (held) g[j] = eight(w + c);
    }
    float s = 0.f;
    if (held) {
#pragma unroll
      for (u32 j = 0; j < MANY; j++)
        if (base + j * n < all) squares += squares_of(v[j]);
      s = row_scale(block_sum(squares), count, eps);
    }
#pragma unroll
    for (u32 j = 0; j < MANY; j++) {
      u32 i = base + j * n, r = i / per;
      if (i >= all) continue;
      elem* to = xs + r * lds + (i - r * per) * 8;
      if (held) store_normed(to, v[j], g[j], s);
      else *(uint4*)to = v[j];
    }
  }
  if (!w || held) return;
  __syncthreads();
  u32 lane = threadIdx.x & 31;
  for (u32 r = threadIdx.x >> 5; r < rows; r += n >> 5) {
    float squares = 0.f;
    for (u32 c = lane; c < per; c += 32) squares += squares_of(*(const uint4*)(xs + r * lds + c * 8));
    squares = warp_sum(squares);
    if (lane == 0) scales[r] = row_scale(squares, count, eps);
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < all; i += n) {
    u32 r = i / per, c = (i - r * per) * 8;
    elem* to = xs + r * lds + c;
    store_normed(to, *(const uint4*)to, eight(w + c), scales[r]);
  }
}

// The adapter's part of a result; u holds the low-rank columns of every row. Eight of its terms are on their way at a time.
DEV float low_part(const Matrix& m, const elem* u, u32 ldu, u32 r, u32 n) {
  float v = 0.f;
  if (!m.b) return v;
  const elem* x = u + (u64)r * ldu + m.at;
  const float* b = m.b + (u64)n * m.rank;
  for (u32 j = 0; j < m.rank; j += 8) {
    float p[8], q[8];
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
      bool there = j + i < m.rank;
      p[i] = there ? load(x + j + i) : 0.f;
      q[i] = there ? b[j + i] : 0.f;
    }
#pragma unroll
    for (u32 i = 0; i < 8; i++) v = fmaf(p[i], rounded(q[i], u), v);
  }
  return v;
}
// What is added to a product.
DEV float added(const Matrix& m, const elem* u, u32 ldu, const elem* residual, u32 ldr, u32 r, u32 n) {
  float v = low_part(m, u, ldu, r, n);
  return residual ? v + load(residual + (u64)r * ldr + n) : v;
}
DEV float swish(float gate, float up, const elem* as) {
  gate = rounded(gate, as);
  return gate / (1.f + exponential(-gate)) * rounded(up, as);
}

// A warp's sums of a tile: [row of x][row of W].
DEV void leave(float* mine, const float (&sum)[TILES][4], u32 rows) {
  u32 lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (u32 i = 0; i < TILES; i++)
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
      u32 r = i * 8 + 2 * t + (e & 1);
      if (r < rows) mine[r * SUM_ROW + g + 8 * (e >> 1)] = sum[i][e];
    }
}
// All warps' sums of one entry, in order.
DEV float joined(const float* all, u32 r, u32 n, u32 rows) {
  float v = 0.f;
#pragma unroll
  for (u32 j = 0; j < WARPS; j++) v += all[(j * rows + r) * SUM_ROW + n];
  return v;
}

// Whole rows of x in shared memory. One more warp finishes tiles: it joins the others' sums, adds what is added and stores, while they go on. The
// codes of a warp's next piece are asked for as soon as their place is free.
#define THREADS ((WARPS + 1) * 32)
// Results of a row of x in a tile, and how often 32 lanes take one each.
#define RESULTS (PAIR ? 8 : 16)
#define ROUNDS (TILES * 8 * RESULTS / 32)
KERNEL __launch_bounds__(THREADS, 1) few_rows(MATRIX(0), MATRIX(1), MATRIX(2), const elem* x, u32 ldx, const elem* w, float eps, const elem* residual, u32 ldr,
                                                  const elem* u, u32 ldu, u32 rows, u32 perRow) {
  DYNAMIC_SHARED(u8, shared);
  __shared__ float scales[32];
  __shared__ volatile u32 done;
  GO();
  u32 warp = warp_of(), lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  u32 units = (perRow + BLOCKS - 1) / BLOCKS, lds = units * BLOCKS * 64 + 8;
  elem* xs = (elem*)(shared + X_AT);
  float* part = (float*)(xs + rows * lds);
  Matrix m0 = GIVEN(0), m1 = GIVEN(1), m2 = GIVEN(2);
  u32 tiles = PAIR ? (n0 + 7) >> 3 : tiles_of(n0) + tiles_of(n1) + tiles_of(n2);
  u32 tile = blockIdx.x;
  Piece p;
  nothing(p);
  // On their way before anything else is done.
  if (warp < WARPS) {
    Source source = begin(p, m0, m1, m2, tile, warp * BLOCKS, perRow, perRow);
#pragma unroll
    for (u32 b = 0; b < BLOCKS; b++)
      if (warp * BLOCKS + b < perRow) ask(p, source, b);
  }
  if (threadIdx.x == 0) done = 0;
  fill_table(shared);
  // Codes and scales are nobody's result; all that follows is.
  WAIT();
  stage(xs, lds, x, ldx, w, eps, rows, 0, perRow * 64, units * BLOCKS * 64, scales);
  __syncthreads();
  if (warp == WARPS) {
    for (u32 turn = 0; tile < tiles; turn++) {
      u32 place = tile;
      Matrix m = choose(place, m0, m1, m2);
      float more[ROUNDS][1 + PAIR];
#pragma unroll
      for (u32 i = 0; i < ROUNDS; i++) {
        u32 at = lane + 32 * i, r = at / RESULTS, n = place * RESULTS + at % RESULTS;
        if (r >= rows || n >= m.n) continue;
        more[i][0] = added(m, u, ldu, residual, ldr, r, n);
        if (PAIR) more[i][PAIR] = low_part(m1, u, ldu, r, n);
      }
      barrier_meet(1 + (turn & 1), THREADS);
      const float* all = part + (turn & 1) * WARPS * rows * SUM_ROW;
#pragma unroll
      for (u32 i = 0; i < ROUNDS; i++) {
        u32 at = lane + 32 * i, r = at / RESULTS;
        if (r >= rows) continue;
        more[i][0] += joined(all, r, at % RESULTS, rows);
        if (PAIR) more[i][PAIR] += joined(all, r, 8 + at % RESULTS, rows);
      }
      __syncwarp();
      __threadfence_block();
      if (lane == 0) done = turn + 1;
#pragma unroll
      for (u32 i = 0; i < ROUNDS; i++) {
        u32 at = lane + 32 * i, r = at / RESULTS, n = place * RESULTS + at % RESULTS;
        if (r >= rows || n >= m.n) continue;
        store(m.out + (u64)r * m.ldo + n, PAIR ? swish(more[i][0], more[i][PAIR], x) : more[i][0]);
      }
      tile += gridDim.x;
    }
    return;
  }
  u32 unit = warp, column = lane * 4;
  // Lanes of rows that are not there keep zeros.
  u32 xb[TILES][8] = {};
  const elem* mine = xs + g * lds + 16 * t;
  for (u32 turn = 0; tile < tiles; turn++) {
    float sum[TILES][4] = {};
    for (bool more = true; more;) {
      float scale[2][SETS];
      scales_of(scale, p, shared);
      const elem* from = mine + unit * BLOCKS * 64;
      unit += WARPS;
      more = unit < units;
      u32 to = tile;
      if (!more) {
        unit = warp;
        to += gridDim.x;
      }
      u32 block = perRow;
      Source source;
      if (to < tiles) {
        block = unit * BLOCKS;
        source = begin(p, m0, m1, m2, to, block, perRow, perRow);
      }
#pragma unroll
      for (u32 b = 0; b < BLOCKS; b++) {
#pragma unroll
        for (u32 n = 0; n < TILES; n++)
          if (n * 8 + g < rows) {
            const uint4* at = (const uint4*)(from + n * 8 * lds + b * 64);
            uint4 lo = at[0], hi = at[1];
            xb[n][0] = lo.x; xb[n][1] = lo.y; xb[n][2] = lo.z; xb[n][3] = lo.w;
            xb[n][4] = hi.x; xb[n][5] = hi.y; xb[n][6] = hi.z; xb[n][7] = hi.w;
          }
        float c[TILES][4] = {};
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
          u32 a[4];
          weights(a, shared, column, p, b, s);
#pragma unroll
          for (u32 n = 0; n < TILES; n++) mma(c[n], a, xb[n] + 2 * s, (const elem*)0);
        }
        scaled(sum, c, scale, b);
        if (block + b < perRow) ask(p, source, b);
      }
    }
    // Two buffers in turn: this one is free when the tile before the last is finished.
    while (turn >= 2 && done + 1 < turn) RELAX();
    __threadfence_block();
    leave(part + ((turn & 1) * WARPS + warp) * rows * SUM_ROW, sum, rows);
    barrier_leave(1 + (turn & 1), THREADS);
    tile += gridDim.x;
  }
}

// The inner dimension in parts of `per` blocks, one a gridDim.y: a warp's columns of x stay in its registers, BLOCKS blocks of them, so x never goes
// through shared memory and any number of rows fits. Leaves f32 sums [y, rows, n0 + n1 + n2] for few_join.
#define ROW_AT(i) const u8 *codes##i, const u8 *scales##i, const float *nested##i, const float *mean##i, u32 n##i
#define ALONE(i) Matrix{codes##i, scales##i, nested##i, mean##i, n##i, 0, 0, 0, 0, 0}
KERNEL __launch_bounds__(WARPS * 32, 1) few_parts(ROW_AT(0), ROW_AT(1), ROW_AT(2), const elem* x, u32 ldx, float* partial, u32 rows, u32 perRow, u32 per) {
  DYNAMIC_SHARED(u8, shared);
  GO();
  u32 warp = warp_of(), lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  u32 block = blockIdx.y * per + warp * BLOCKS, last = min(perRow, (blockIdx.y + 1) * per);
  float* part = (float*)(shared + X_AT);
  Matrix m0 = ALONE(0), m1 = ALONE(1), m2 = ALONE(2);
  u32 total = n0 + n1 + n2, tiles = tiles_of(n0) + tiles_of(n1) + tiles_of(n2), tile = blockIdx.x;
  Piece p;
  nothing(p);
  if (tile < tiles) {
    Source source = begin(p, m0, m1, m2, tile, block, last, perRow);
#pragma unroll
    for (u32 b = 0; b < BLOCKS; b++)
      if (block + b < last) ask(p, source, b);
  }
  fill_table(shared);
  WAIT();
  u32 xb[BLOCKS][TILES][8];
#pragma unroll
  for (u32 b = 0; b < BLOCKS; b++)
#pragma unroll
    for (u32 n = 0; n < TILES; n++) {
      uint4 lo = make_uint4(0, 0, 0, 0), hi = lo;
      if (block + b < last && n * 8 + g < rows) {
        const elem* from = x + (u64)(n * 8 + g) * ldx + (block + b) * 64 + 16 * t;
        lo = eight(from);
        hi = eight(from + 8);
      }
      xb[b][n][0] = lo.x; xb[b][n][1] = lo.y; xb[b][n][2] = lo.z; xb[b][n][3] = lo.w;
      xb[b][n][4] = hi.x; xb[b][n][5] = hi.y; xb[b][n][6] = hi.z; xb[b][n][7] = hi.w;
    }
  __syncthreads();
  u32 column = lane * 4;
  for (u32 turn = 0; tile < tiles; turn++) {
    float sum[TILES][4] = {}, scale[2][SETS];
    scales_of(scale, p, shared);
    u32 to = tile + gridDim.x;
    Source source;
    bool more = to < tiles;
    if (more) source = begin(p, m0, m1, m2, to, block, last, perRow);
#pragma unroll
    for (u32 b = 0; b < BLOCKS; b++) {
      float c[TILES][4] = {};
#pragma unroll
      for (u32 s = 0; s < 4; s++) {
        u32 a[4];
        weights(a, shared, column, p, b, s);
#pragma unroll
        for (u32 n = 0; n < TILES; n++) mma(c[n], a, xb[b][n] + 2 * s, (const elem*)0);
      }
      scaled(sum, c, scale, b);
      if (more && block + b < last) ask(p, source, b);
    }
    // Two buffers in turn: who writes one has passed the barrier behind the reading of it.
    leave(part + ((turn & 1) * WARPS + warp) * rows * SUM_ROW, sum, rows);
    __syncthreads();
    const float* all = part + (turn & 1) * WARPS * rows * SUM_ROW;
    u32 place = tile;
    Matrix m = choose(place, m0, m1, m2);
    u32 before = tile < tiles_of(n0) ? 0 : tile < tiles_of(n0) + tiles_of(n1) ? n0 : n0 + n1;
    for (u32 i = threadIdx.x; i < rows * 16; i += WARPS * 32) {
      u32 r = i >> 4, n = place * 16 + (i & 15);
      if (n < m.n) partial[((u64)blockIdx.y * rows + r) * total + before + n] = joined(all, r, i & 15, rows);
    }
    tile = to;
  }
}

// The parts of one entry in order, several on their way at a time.
DEV float all_parts(const float* partial, u64 apart, u32 parts) {
  float v = 0.f;
#pragma unroll 4
  for (u32 p = 0; p < parts; p++) v += partial[p * apart];
  return v;
}

// The parts of a split inner dimension joined, with what a product adds; `both`: the swiglu of the first two. Block 256, grid (ceil(columns / 256), rows).
KERNEL __launch_bounds__(256) few_join(MATRIX(0), MATRIX(1), MATRIX(2), const elem* residual, u32 ldr, const elem* u, u32 ldu, const float* partial, u32 parts, u32 both) {
  GO();
  WAIT();
  u32 total = n0 + n1 + n2, c = blockIdx.x * 256 + threadIdx.x, r = blockIdx.y;
  if (c >= (both ? n0 : total)) return;
  u64 apart = (u64)gridDim.y * total;
  const float* from = partial + (u64)r * total + c;
  Matrix m = GIVEN(0);
  u32 n = c;
  if (c >= n0 + n1) {
    m = GIVEN(2);
    n -= n0 + n1;
  } else if (c >= n0) {
    m = GIVEN(1);
    n -= n0;
  }
  float v = all_parts(from, apart, parts) + added(m, u, ldu, residual, ldr, r, n);
  if (both) v = swish(v, all_parts(from + n0, apart, parts) + low_part(GIVEN(1), u, ldu, r, n), u);
  store(m.out + (u64)r * m.ldo + n, v);
}

// The same of one matrix, and the row it makes normed beside it. Block 1024, grid (rows).
KERNEL __launch_bounds__(1024) few_join_norm(MATRIX(0), const elem* residual, u32 ldr, const elem* u, u32 ldu, const float* partial, u32 parts, const elem* w, float eps,
                                             elem* normed, u32 ldn) {
  GO();
  WAIT();
  u32 r = blockIdx.x;
  Matrix m = GIVEN(0);
  float squares = 0.f;
  for (u32 n = threadIdx.x; n < n0; n += 1024) {
    float v = all_parts(partial + (u64)r * n0 + n, (u64)gridDim.x * n0, parts) + added(m, u, ldu, residual, ldr, r, n);
    v = rounded(v, w);
    store(out0 + (u64)r * ldo0 + n, v);
    squares += v * v;
  }
  float s = row_scale(block_sum(squares), n0, eps);
  // A thread reads what it wrote.
  for (u32 n = threadIdx.x; n < n0; n += 1024) store(normed + (u64)r * ldn + n, load(out0 + (u64)r * ldo0 + n) * s * load(w + n));
}

// u[r, j] = by·round(Σ x[r, ·]·A[j, ·]) of up to three adapters side by side, a block a column and four rows; x is normed first where w is given: its
// factor is taken behind the sum, so a row is read once. A f32 [rank, k] is rounded as the program's cast does. Block 256, grid (ranks, rows by fours).
#define LOW(i) const float *a##i, u32 rank##i, float by##i
KERNEL __launch_bounds__(256) few_low(LOW(0), LOW(1), LOW(2), const elem* x, u32 ldx, const elem* w, float eps, elem* u, u32 ldu, u32 rows, u32 k) {
  __shared__ float sums[8][8];
  GO();
  u32 j = blockIdx.x, first = blockIdx.y * 4, lane = threadIdx.x & 31;
  const float* a = a0 + (u64)j * k;
  float by = by0;
  if (j >= rank0 + rank1) { a = a2 + (u64)(j - rank0 - rank1) * k; by = by2; }
  else if (j >= rank0) { a = a1 + (u64)(j - rank0) * k; by = by1; }
  for (u32 c = threadIdx.x * 32; c < k; c += 256 * 32) prefetch(a + c);
  WAIT();
  float s[8] = {};
  for (u32 c = threadIdx.x * 8; c < k; c += 2048) {
    float b[8], v[4][8];
#pragma unroll
    for (u32 q = 0; q < 4; q++)
      if (first + q < rows) load8(v[q], x + (u64)(first + q) * ldx + c);
    load8(b, a + c);
#pragma unroll
    for (u32 i = 0; i < 8; i++) b[i] = rounded(b[i], x);
    if (w) {
      float g[8];
      load8(g, w + c);
#pragma unroll
      for (u32 i = 0; i < 8; i++) b[i] *= g[i];
    }
#pragma unroll
    for (u32 q = 0; q < 4; q++)
      if (first + q < rows)
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
          s[q] = fmaf(v[q][i], b[i], s[q]);
          s[4 + q] = fmaf(v[q][i], v[q][i], s[4 + q]);
        }
  }
#pragma unroll
  for (u32 i = 0; i < 8; i++) {
    s[i] = warp_sum(s[i]);
    if (lane == 0) sums[threadIdx.x >> 5][i] = s[i];
  }
  __syncthreads();
  u32 q = threadIdx.x, r = first + q;
  if (q >= 4 || r >= rows) return;
  float dot = 0.f, squares = 0.f;
  for (u32 i = 0; i < 8; i++) {
    dot += sums[i][q];
    squares += sums[i][4 + q];
  }
  if (w) dot *= row_scale(squares, k, eps);
  store(u + (u64)r * ldu + j, rounded(dot, u) * by);
}

// Weights of 16 bit, as they are: a lane reads 16 bytes of two rows at a time, a piece is 128 columns. W [n, k], k a multiple of 32; gridDim.y
// blocks split the columns by `per` thirty-twos where `partial` is given. A tile's sums are joined by all warps, another one first each time.
KERNEL __launch_bounds__(WARPS * 32, 1) few_wide(const elem* weights, u32 ldw, u32 n, elem* out, u32 ldo, const elem* x, u32 ldx, const elem* w, float eps,
                                              const elem* residual, u32 ldr, float* partial, u32 rows, u32 perRow, u32 per) {
  DYNAMIC_SHARED(u8, shared);
  __shared__ float scales[32];
  GO();
  u32 warp = warp_of(), lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  u32 first = blockIdx.y * per, last = min(perRow, first + per), units = (last - first + 3) >> 2, lds = per * 32 + 32;
  elem* xs = (elem*)shared;
  float* part = (float*)(xs + rows * lds);
  u32 tiles = tiles_of(n), tile = blockIdx.x, unit = warp;
  bool work = warp < units;
  uint4 p[2][4];
  // Where the two rows of the next piece lie, and its first thirty-two.
  const elem* from[2];
  u32 block = last;
  auto aim = [&](u32 to, u32 piece) {
    block = first + piece * 4;
#pragma unroll
    for (u32 h = 0; h < 2; h++) from[h] = weights + (u64)min(to * 16 + g + 8 * h, n - 1) * ldw + block * 32 + 8 * t;
  };
  auto ask = [&](u32 b) {
#pragma unroll
    for (u32 h = 0; h < 2; h++)
      if (block + b < last) p[h][b] = wide_at(from[h] + 32 * b);
  };
  if (work && tile < tiles) {
    aim(tile, unit);
#pragma unroll
    for (u32 b = 0; b < 4; b++) ask(b);
  }
  WAIT();
  stage(xs, lds, x, ldx, w, eps, rows, first * 32, (last - first) * 32, (last - first) * 32, scales);
  __syncthreads();
  for (u32 turn = 0; tile < tiles; turn++) {
    float c[TILES][4] = {};
    for (bool more = work; more;) {
      u32 here = unit;
      unit += WARPS;
      more = unit < units;
      if (!more) unit = warp;
      if (more) aim(tile, unit);
      else if (tile + gridDim.x < tiles) aim(tile + gridDim.x, unit);
      else block = last;
#pragma unroll
      for (u32 b = 0; b < 4; b++) {
        if (first + here * 4 + b < last) {
          u32 a[2][4] = {{p[0][b].x, p[1][b].x, p[0][b].y, p[1][b].y}, {p[0][b].z, p[1][b].z, p[0][b].w, p[1][b].w}};
#pragma unroll
          for (u32 i = 0; i < TILES; i++) {
            uint4 v = *(const uint4*)(xs + min(i * 8 + g, rows - 1) * lds + (here * 4 + b) * 32 + 8 * t);
            u32 lo[2] = {v.x, v.y}, hi[2] = {v.z, v.w};
            mma(c[i], a[0], lo, (const elem*)0);
            mma(c[i], a[1], hi, (const elem*)0);
          }
        }
        ask(b);
      }
    }
    leave(part + ((turn & 1) * WARPS + warp) * rows * SUM_ROW, c, rows);
    __syncthreads();
    const float* all = part + (turn & 1) * WARPS * rows * SUM_ROW;
    for (u32 i = (threadIdx.x + turn * 32) % (WARPS * 32); i < rows * 16; i += WARPS * 32) {
      u32 r = i >> 4, column = tile * 16 + (i & 15);
      if (column >= n) continue;
      float v = joined(all, r, i & 15, rows);
      if (partial) partial[((u64)blockIdx.y * rows + r) * n + column] = v;
      else {
        if (residual) v += load(residual + (u64)r * ldr + column);
        store(out + (u64)r * ldo + column, v);
      }
    }
    tile += gridDim.x;
  }
}
