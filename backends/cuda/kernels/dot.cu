// D = alpha·op(A)·op(B) + beta·C for any sizes, strides and types, in plain f32: where the library has no algorithm. 64×64 tiles,
// 256 threads of 4×4, 16 of the inner dimension at a time in order. A and B are `elem`, C and D `other`; C may be null or lie under D.
// lda is the stride between rows as stored; TA, TB: stored transposed. grid (ceil(n / 64), ceil(m / 64)).
DEV void fill_tile(float (&tile)[TILE_K][65], const elem* x, u32 ld, bool alongK, u32 first, u32 count, u32 k0, u32 k) {
  for (u32 i = threadIdx.x; i < 64 * TILE_K; i += 256) {
    // Neighbouring threads take neighbouring addresses.
    u32 r = alongK ? i / TILE_K : i % 64, c = alongK ? i % TILE_K : i / 64, row = first + r, column = k0 + c;
    bool in = row < count && column < k;
    tile[c][r] = in ? load(alongK ? x + (u64)row * ld + column : x + (u64)column * ld + row) : 0.f;
  }
}
KERNEL __launch_bounds__(256) dot_tiles(const elem* a, u32 lda, u32 ta, const elem* b, u32 ldb, u32 tb, const other* c, u32 ldc, other* d, u32 ldd,
                                       u32 m, u32 n, u32 k, float alpha, float beta) {
  __shared__ float as[TILE_K][65], bs[TILE_K][65];
  u32 row0 = blockIdx.y * 64, column0 = blockIdx.x * 64, y = threadIdx.x >> 4, x = threadIdx.x & 15;
  float sum[4][4] = {};
  for (u32 k0 = 0; k0 < k; k0 += TILE_K) {
    fill_tile(as, a, lda, !ta, row0, m, k0, k);
    fill_tile(bs, b, ldb, tb, column0, n, k0, k);
    __syncthreads();
    add_tile(sum, as, bs);
    __syncthreads();
  }
#pragma unroll
  for (u32 i = 0; i < 4; i++)
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
      u32 row = row0 + y + 16 * i, column = column0 + x + 16 * j;
      if (row < m && column < n) store(d + (u64)row * ldd + column, alpha * sum[i][j] + (c ? beta * load(c + (u64)row * ldc + column) : 0.f));
    }
}
// U[t, j] = alpha·Σ X[t, ·]·A[j, ·] for few columns (LoRA's first product). A is `other`, rounded to X's type first as the program's cast does.
// A warp a row of X, 8 columns at a time; block 128, grid (ceil(rows / 4)).
KERNEL __launch_bounds__(128) skinny_rows(const elem* x, u32 ldx, const other* a, u32 lda, elem* u, u32 ldu, u32 rows, u32 k, u32 n, float alpha) {
  u32 lane = threadIdx.x & 31, row = blockIdx.x * 4 + (threadIdx.x >> 5);
  if (row >= rows) return;
  for (u32 j0 = 0; j0 < n; j0 += 8) {
    float sum[8] = {};
    for (u32 c = lane * 8; c < k; c += 256) {
      float v[8];
      u32 count = min(8u, k - c);
      get(v, x + (u64)row * ldx + c, count);
#pragma unroll
      for (u32 j = 0; j < 8; j++)
        if (j0 + j < n) {
          float w[8];
          get(w, a + (u64)(j0 + j) * lda + c, count);
#pragma unroll
          for (int i = 0; i < 8; i++) sum[j] += v[i] * rounded(w[i], x);
        }
    }
#pragma unroll
    for (u32 j = 0; j < 8; j++) {
      float s = warp_sum(sum[j]);
      if (lane == 0 && j0 + j < n) store(u + (u64)row * ldu + j0 + j, alpha * s);
    }
  }
}
