// y[r, n] = Σ x[r, k]·W[n, k] for a handful of rows of x, straight from 4-bit codes: bound by the codes' bytes. Products run on the tensor cores with
// W as the 16×16 operand: a table in shared memory turns a byte of codes into the pair that a fragment holds, one copy of it a bank, so no two lanes
// collide. Within a block of 64 codes the inner dimension is taken in the order that gives each lane 8 neighbouring bytes. A block's sum is scaled
// once, in f32, so a weight is its codebook value rounded to `elem` times an f32 scale.
// WARPS warps share a tile of 16 rows of W (PAIR: of 8 rows each of two matrices, whose results meet in a swiglu) and split the inner dimension; blocks of threads take tiles in turn, and
// the codes of the next piece are asked for while one is multiplied. TILES·8 ≥ rows of x. Sums are joined in a fixed order.
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
#define THREADS (WARPS * 32)
#define TABLE_BYTES 32768

struct Codes { u32 x, y; };
#ifdef EMULATED
DEV Codes codes_at(const u8* p) { return *(const Codes*)p; }
DEV uint4 wide_at(const void* p) { return *(const uint4*)p; }
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
#endif

// A matrix, where its results go, and its adapter: b f32 [n, rank], of the low-rank columns the ones from `at` on.
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

// What a lane has of a piece: of each block 8 bytes of codes of two rows, and the scale of block lane % 4.
struct Piece { Codes codes[2][BLOCKS]; u32 code[2]; float nested[2], mean[2]; };
// Where the codes of a lane's two rows lie at a piece.
struct Source { const u8* codes[2]; };

// lane = 4·g + t: rows g and g + 8 of the tile, of a pair row g of each; bytes from 8·t on of each block. Rows beyond the matrix repeat its last.
// Asks for the scales; a lane without a block looks its scale up all the same.
DEV Source begin(Piece& p, const Matrix& m0, const Matrix& m1, const Matrix& m2, u32 tile, u32 block, u32 last, u32 perRow) {
  u32 lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  Matrix m = choose(tile, m0, m1, m2);
  Source s;
#pragma unroll
  for (u32 h = 0; h < 2; h++) {
    if (PAIR && h == 1) m = m1;
    u32 at = min(PAIR ? tile * 8 + g : tile * 16 + g + 8 * h, m.n - 1) * perRow + block;
    s.codes[h] = m.codes + (u64)at * 32 + 8 * t;
    p.code[h] = 0;
    p.nested[h] = 0.f;
    if (m0.nested) p.mean[h] = __ldg(m.mean);
    if (t < BLOCKS && block + t < last) {
      at += t;
      if (m0.nested) {
        p.code[h] = __ldg(m.scales + at);
        p.nested[h] = __ldg(m.nested + (at >> 8));
      } else p.nested[h] = __ldg((const float*)m.scales + at);
    }
  }
  return s;
}
// Asks for the codes of the piece's b-th block.
DEV void ask(Piece& p, const Source& s, u32 b) {
  p.codes[0][b] = codes_at(s.codes[0] + 32 * b);
  p.codes[1][b] = codes_at(s.codes[1] + 32 * b);
}

// Two codes of byte `k` as a pair, the first one low: from the lane's column of the table.
DEV u32 pair(const u8* column, u32 word, u32 k) { return *(const u32*)(column + ((word >> (8 * k)) & 255u) * 128u); }

DEV void fill_table(u32* table) {
  elem* as = 0;
  // Thread i fills half a row; the order of its four pieces turns with the row, so that no two threads meet in a bank.
  for (u32 i = threadIdx.x; i < 512; i += THREADS) {
    u32 entry = i >> 1, v = pack(code_value(entry >> 4), code_value(entry & 15), as);
    uint4* row = (uint4*)(table + entry * 32 + (i & 1) * 16);
#pragma unroll
    for (u32 j = 0; j < 4; j++) row[(j + entry) & 3] = make_uint4(v, v, v, v);
  }
}

DEV float row_scale(float squares, u32 width, float eps) { return 1.f / sqrtf(squares / (float)width + eps); }

// Columns from `from` on of all rows of x into shared memory; with w the whole rows, normed.
DEV void stage(elem* xs, u32 lds, const elem* x, u32 ldx, const elem* w, float eps, u32 rows, u32 from, u32 count) {
  for (u32 r = 0; r < rows; r++) {
    float squares = 0.f;
    for (u32 c = threadIdx.x * 8; c < count; c += blockDim.x * 8) {
      float v[8];
      get(v, x + (u64)r * ldx + from + c, 8);
      store8(xs + r * lds + c, v);
#pragma unroll
      for (u32 k = 0; k < 8; k++) squares += v[k] * v[k];
    }
    if (!w) continue;
    float s = row_scale(block_sum(squares), count, eps);
    for (u32 c = threadIdx.x * 8; c < count; c += blockDim.x * 8) {
      float v[8], g[8];
      load8(v, xs + r * lds + c);
      get(g, w + c, 8);
#pragma unroll
      for (u32 k = 0; k < 8; k++) v[k] = v[k] * s * g[k];
      store8(xs + r * lds + c, v);
    }
  }
}

// A result with its adapter's part: u holds the low-rank columns of every row.
DEV float adapted(float v, const Matrix& m, const elem* u, u32 ldu, u32 r, u32 n) {
  if (m.b)
    for (u32 j = 0; j < m.rank; j++) v = fmaf(load(u + (u64)r * ldu + m.at + j), rounded(m.b[(u64)n * m.rank + j], u), v);
  return v;
}
DEV void finish(float v, const Matrix& m, const elem* u, u32 ldu, const elem* residual, u32 ldr, u32 r, u32 n) {
  v = adapted(v, m, u, ldu, r, n);
  if (residual) v += load(residual + (u64)r * ldr + n);
  store(m.out + (u64)r * m.ldo + n, v);
}

// A warp's sums of a tile: [row of x][row of W].
DEV void leave(float* mine, const float (&sum)[TILES][4], u32 rows) {
  u32 lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (u32 i = 0; i < TILES; i++)
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
      u32 r = i * 8 + 2 * t + (e & 1);
      if (r < rows) mine[r * 16 + g + 8 * (e >> 1)] = sum[i][e];
    }
}
// All warps' sums of one entry, in order.
DEV float joined(const float* all, u32 entry, u32 rows) {
  float v = 0.f;
#pragma unroll
  for (u32 j = 0; j < WARPS; j++) v += all[j * rows * 16 + entry];
  return v;
}

// Where `partial` is given, gridDim.y blocks split the inner dimension by `per` blocks of codes, and leave f32 sums [y, rows, n0 + n1 + n2] there.
KERNEL __launch_bounds__(WARPS * 32, 1) few_rows(MATRIX(0), MATRIX(1), MATRIX(2), const elem* x, u32 ldx, const elem* w, float eps,
                                              const elem* residual, u32 ldr, const elem* u, u32 ldu, float* partial, u32 rows, u32 perRow, u32 per) {
  DYNAMIC_SHARED(u8, shared);
  GO();
  u32 warp = warp_of(), lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const u8* column = shared + lane * 4;
  u32 first = blockIdx.y * per, last = min(perRow, first + per), units = (last - first + BLOCKS - 1) / BLOCKS, lds = per * 64 + 8;
  elem* xs = (elem*)(shared + TABLE_BYTES);
  float* part = (float*)(xs + rows * lds);
  Matrix m0 = GIVEN(0), m1 = GIVEN(1), m2 = GIVEN(2);
  u32 tiles = PAIR ? (n0 + 7) >> 3 : tiles_of(n0) + tiles_of(n1) + tiles_of(n2);
  u32 tile = blockIdx.x, unit = warp;
  Piece p;
  bool work = warp < units;
  // On their way before anything else is done.
  if (work && tile < tiles) {
    Source source = begin(p, m0, m1, m2, tile, first + unit * BLOCKS, last, perRow);
#pragma unroll
    for (u32 b = 0; b < BLOCKS; b++)
      if (first + unit * BLOCKS + b < last) ask(p, source, b);
  }
  fill_table((u32*)shared);
  // Codes and scales are nobody's result; all that follows is.
  WAIT();
  stage(xs, lds, x, ldx, w, eps, rows, first * 64, (last - first) * 64);
  __syncthreads();
  for (u32 turn = 0; tile < tiles; turn++) {
    float sum[TILES][4] = {};
    for (bool more = work; more;) {
      float scale[2];
#pragma unroll
      for (u32 h = 0; h < 2; h++) scale[h] = nested0 ? nested_scale(p.code[h], p.nested[h], p.mean[h]) : p.nested[h];
      u32 here = unit, to = tile;
      unit += WARPS;
      more = unit < units;
      if (!more) {
        unit = warp;
        to += gridDim.x;
      }
      u32 block = last;
      Source source;
      if (to < tiles) {
        block = first + unit * BLOCKS;
        source = begin(p, m0, m1, m2, to, block, last, perRow);
      }
#pragma unroll
      for (u32 b = 0; b < BLOCKS; b++) {
        if (first + here * BLOCKS + b >= last) {
          if (block + b < last) ask(p, source, b);
          continue;
        }
        u32 xb[TILES][8];
#pragma unroll
        for (u32 n = 0; n < TILES; n++) {
          // Beyond the rows the last again: nobody reads those columns.
          const uint4* from = (const uint4*)(xs + min(n * 8 + g, rows - 1) * lds + (here * BLOCKS + b) * 64 + 16 * t);
          uint4 lo = from[0], hi = from[1];
          xb[n][0] = lo.x; xb[n][1] = lo.y; xb[n][2] = lo.z; xb[n][3] = lo.w;
          xb[n][4] = hi.x; xb[n][5] = hi.y; xb[n][6] = hi.z; xb[n][7] = hi.w;
        }
        float c[TILES][4] = {};
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
          u32 k = 2 * (s & 1), lo = s < 2 ? p.codes[0][b].x : p.codes[0][b].y, hi = s < 2 ? p.codes[1][b].x : p.codes[1][b].y;
          u32 a[4] = {pair(column, lo, k), pair(column, hi, k), pair(column, lo, k + 1), pair(column, hi, k + 1)};
#pragma unroll
          for (u32 n = 0; n < TILES; n++) mma(c[n], a, xb[n] + 2 * s, (const elem*)0);
        }
        float lo = __shfl_sync(~0u, scale[0], (lane & 28) | b), hi = __shfl_sync(~0u, scale[1], (lane & 28) | b);
#pragma unroll
        for (u32 n = 0; n < TILES; n++) {
          sum[n][0] = fmaf(lo, c[n][0], sum[n][0]);
          sum[n][1] = fmaf(lo, c[n][1], sum[n][1]);
          sum[n][2] = fmaf(hi, c[n][2], sum[n][2]);
          sum[n][3] = fmaf(hi, c[n][3], sum[n][3]);
        }
        // As soon as its place is free.
        if (block + b < last) ask(p, source, b);
      }
    }
    // Two buffers in turn: who writes one has passed the barrier behind the reading of it.
    leave(part + ((turn & 1) * WARPS + warp) * rows * 16, sum, rows);
    __syncthreads();
    const float* all = part + (turn & 1) * WARPS * rows * 16;
    u32 place = tile;
    Matrix m = choose(place, m0, m1, m2);
    // Another warp each time.
    for (u32 i = (threadIdx.x + turn * 32) % THREADS; i < rows * (PAIR ? 8 : 16); i += THREADS) {
#if PAIR
      u32 r = i >> 3, n = tile * 8 + (i & 7);
      if (n >= n0) continue;
      float gate = rounded(adapted(joined(all, r * 16 + (i & 7), rows), m0, u, ldu, r, n), out0), up = rounded(adapted(joined(all, r * 16 + 8 + (i & 7), rows), m1, u, ldu, r, n), out0);
      store(out0 + (u64)r * ldo0 + n, gate / (1.f + exponential(-gate)) * up);
#else
      u32 r = i >> 4, n = place * 16 + (i & 15);
      if (n >= m.n) continue;
      float v = joined(all, i, rows);
      if (partial) {
        u32 before = tile < tiles_of(n0) ? 0 : tile < tiles_of(n0) + tiles_of(n1) ? n0 : n0 + n1;
        partial[((u64)blockIdx.y * rows + r) * (n0 + n1 + n2) + before + n] = v;
      } else finish(v, m, u, ldu, residual, ldr, r, n);
#endif
    }
    tile += gridDim.x;
  }
}

// The parts of a split inner dimension joined in order, with what a product adds. Block 256, grid (ceil((n0 + n1 + n2) / 256), rows).
KERNEL __launch_bounds__(256) few_join(MATRIX(0), MATRIX(1), MATRIX(2), const elem* residual, u32 ldr, const elem* u, u32 ldu, const float* partial, u32 parts) {
  GO();
  WAIT();
  u32 total = n0 + n1 + n2, c = blockIdx.x * 256 + threadIdx.x, r = blockIdx.y;
  if (c >= total) return;
  float v = 0.f;
  for (u32 p = 0; p < parts; p++) v += partial[((u64)p * gridDim.y + r) * total + c];
  if (c < n0) finish(v, GIVEN(0), u, ldu, residual, ldr, r, c);
  else if (c < n0 + n1) finish(v, GIVEN(1), u, ldu, residual, ldr, r, c - n0);
  else finish(v, GIVEN(2), u, ldu, residual, ldr, r, c - n0 - n1);
}

// u[r, j] = by·round(Σ x[r, ·]·A[j, ·]) of up to three adapters side by side, one block a column; x is normed first where w is given, as in few_rows.
// A f32 [rank, k] is rounded as the program's cast does. Block 256, grid (ranks).
#define LOW(i) const float *a##i, u32 rank##i, float by##i
KERNEL __launch_bounds__(256) few_low(LOW(0), LOW(1), LOW(2), const elem* x, u32 ldx, const elem* w, float eps, elem* u, u32 ldu, u32 rows, u32 k) {
  GO();
  WAIT();
  u32 j = blockIdx.x;
  const float* a = a0 + (u64)j * k;
  float by = by0;
  if (j >= rank0 + rank1) { a = a2 + (u64)(j - rank0 - rank1) * k; by = by2; }
  else if (j >= rank0) { a = a1 + (u64)(j - rank0) * k; by = by1; }
  for (u32 r = 0; r < rows; r++) {
    float squares = 0.f, sum = 0.f, s = 1.f;
    if (w) {
      for (u32 c = threadIdx.x * 8; c < k; c += 2048) {
        float v[8];
        get(v, x + (u64)r * ldx + c, 8);
#pragma unroll
        for (u32 i = 0; i < 8; i++) squares += v[i] * v[i];
      }
      s = row_scale(block_sum(squares), k, eps);
    }
    for (u32 c = threadIdx.x * 8; c < k; c += 2048) {
      float v[8], b[8], g[8];
      get(v, x + (u64)r * ldx + c, 8);
      get(b, a + c, 8);
      if (w) {
        get(g, w + c, 8);
#pragma unroll
        for (u32 i = 0; i < 8; i++) v[i] = rounded(v[i] * s * g[i], x);
      }
#pragma unroll
      for (u32 i = 0; i < 8; i++) sum = fmaf(v[i], rounded(b[i], x), sum);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) store(u + (u64)r * ldu + j, rounded(sum, u) * by);
  }
}

// Weights of 16 bit, as they are: a lane reads 16 bytes of two rows at a time, a piece is 128 columns. W [n, k], k a multiple of 32; gridDim.y
// blocks split the columns by `per` thirty-twos where `partial` is given. Otherwise as few_rows.
KERNEL __launch_bounds__(WARPS * 32, 1) few_wide(const elem* weights, u32 ldw, u32 n, elem* out, u32 ldo, const elem* x, u32 ldx, const elem* w, float eps,
                                              const elem* residual, u32 ldr, float* partial, u32 rows, u32 perRow, u32 per) {
  DYNAMIC_SHARED(u8, shared);
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
  stage(xs, lds, x, ldx, w, eps, rows, first * 32, (last - first) * 32);
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
    leave(part + ((turn & 1) * WARPS + warp) * rows * 16, c, rows);
    __syncthreads();
    const float* all = part + (turn & 1) * WARPS * rows * 16;
    for (u32 i = (threadIdx.x + turn * 32) % THREADS; i < rows * 16; i += THREADS) {
      u32 r = i >> 4, column = tile * 16 + (i & 15);
      if (column >= n) continue;
      float v = joined(all, i, rows);
      if (partial) partial[((u64)blockIdx.y * rows + r) * n + column] = v;
      else {
        if (residual) v += load(residual + (u64)r * ldr + column);
        store(out + (u64)r * ldo + column, v);
      }
    }
    tile += gridDim.x;
  }
}
