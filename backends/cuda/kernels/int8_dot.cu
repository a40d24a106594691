// Products of 8-bit integers (ir/ops/int8.ts is the definition): rows of x quantized, codes multiplied as numbers of `elem`, which holds them all, sums in f32;
// then scales, and columns with outliers as they are.
// Which columns hold an outlier. A block takes 32 columns, its warps every eighth row.
KERNEL __launch_bounds__(256) int8_outliers(const elem* x, u32 ldx, u8* flags, u32 rows, u32 width, float threshold) {
  __shared__ u32 part[8][32];
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = blockIdx.x * 32 + lane, any = 0;
  if (c < width)
    for (u32 r = warp; r < rows; r += 8) any |= fabsf(as_half(load(x + (u64)r * ldx + c))) >= threshold;
  part[warp][lane] = any;
  __syncthreads();
  if (warp || c >= width) return;
#pragma unroll
  for (u32 w = 1; w < 8; w++) any |= part[w][lane];
  flags[c] = (u8)any;
}

// Their list in order, behind their number. One block; a thread takes a stretch of columns.
KERNEL __launch_bounds__(1024) int8_list(const u8* flags, u32* list, u32 width) {
  __shared__ u32 sums[1024];
  u32 t = threadIdx.x, per = (width + 1023) / 1024, first = min(t * per, width), last = min(first + per, width), own = 0;
  for (u32 c = first; c < last; c++) own += flags[c];
  sums[t] = own;
  __syncthreads();
  for (u32 o = 1; o < 1024; o *= 2) {
    u32 before = t >= o ? sums[t - o] : 0;
    __syncthreads();
    sums[t] += before;
    __syncthreads();
  }
  u32 at = sums[t] - own;
  for (u32 c = first; c < last; c++) if (flags[c]) list[1 + at++] = c;
  if (t == 1023) list[0] = sums[t];
}

// Rows to codes: a block a row. No flags: there are no outliers.
KERNEL __launch_bounds__(256) int8_rows(const elem* x, u32 ldx, const u8* flags, elem* codes, float* scales, u32 width, float threshold) {
  u64 row = blockIdx.x;
  const elem* from = x + row * ldx;
  float most = 0.f;
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) {
    float a = fabsf(as_half(load(from + c)));
    if (!(flags && a >= threshold)) most = fmaxf(most, a);
  }
  most = block_max(most);
  float factor = int8_factor(most);
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) {
    float v = as_half(load(from + c));
    store(codes + row * width + c, flags && flags[c] ? 0.f : rintf(__fmul_rn(v, factor)));
  }
  if (threadIdx.x == 0) scales[row] = most;
}

// Codes of W as numbers, 8 a thread.
KERNEL __launch_bounds__(256) int8_widen(const signed char* codes, elem* out, u32 lo, u32 hi) {
  u64 n = joined(lo, hi), first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (first >= n) return;
  u32 count = n - first < 8 ? (u32)(n - first) : 8;
  float v[8];
#pragma unroll
  for (u32 k = 0; k < 8; k++) v[k] = k < count ? (float)codes[first + k] : 0.f;
  put(out + first, v, count);
}

// d = sums · scaleA · scaleB / 127² + x · Wᵀ over the listed columns. 64×64 tiles, 256 threads of 4×4, 16 columns at a time in order.
KERNEL __launch_bounds__(256) int8_finish(const float* sums, const float* scaleA, const float* scaleB, const u32* list, const elem* x, u32 ldx,
                                         const signed char* codes, elem* d, u32 ldd, u32 m, u32 n, u32 k) {
  __shared__ float as[TILE_K][65], bs[TILE_K][65];
  u32 row0 = blockIdx.y * 64, column0 = blockIdx.x * 64, ty = threadIdx.x >> 4, tx = threadIdx.x & 15;
  u32 count = list ? list[0] : 0;
  float sum[4][4] = {};
  for (u32 k0 = 0; k0 < count; k0 += TILE_K) {
    for (u32 i = threadIdx.x; i < 64 * TILE_K; i += 256) {
      u32 r = i / TILE_K, l = i % TILE_K;
      bool in = k0 + l < count;
      u32 c = in ? list[1 + k0 + l] : 0;
      as[l][r] = in && row0 + r < m ? load(x + (u64)(row0 + r) * ldx + c) : 0.f;
      bs[l][r] = in && column0 + r < n ? rounded(int8_value(codes[(u64)(column0 + r) * k + c], scaleB[column0 + r]), (const elem*)0) : 0.f;
    }
    __syncthreads();
    add_tile(sum, as, bs);
    __syncthreads();
  }
#pragma unroll
  for (u32 i = 0; i < 4; i++)
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
      u32 row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
      if (row >= m || column >= n) continue;
      float whole = sums[(u64)row * n + column] * (scaleA[row] * scaleB[column]) * (1.f / 16129.f);
      store(d + (u64)row * ldd + column, whole + sum[i][j]);
    }
}
