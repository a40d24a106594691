// 8-bit floats in flight (ir/number.ts is the definition, every step here gives its bits): rows quantized with a power of two as their scale,
// NF4 weights decoded straight to e4m3, the product itself where the library has no algorithm. Rounded to `elem` first, as the program's own values are.
// X_E5M2: what rows are quantized to, and the product's left operand, is e5m2.

// Rows of up to four matrices side by side quantized as one row; a block a row. Widths count in octets; a thread keeps its first three.
#define KEPT 3
#define PART(i) const elem *x##i, u32 ldx##i, u32 width##i
#define LOCATE(i) if (c >= octets) { c -= octets; octets = (width##i + 7) >> 3; x = x##i + row * ldx##i; start += width; width = width##i; }
struct Spot { const elem* from; u32 to, count; };
KERNEL __launch_bounds__(512, 2) quantize_rows(PART(0), PART(1), PART(2), PART(3), u8* out, u32 ldo, float* scales) {
  u64 row = blockIdx.x;
  u32 all = ((width0 + 7) >> 3) + ((width1 + 7) >> 3) + ((width2 + 7) >> 3) + ((width3 + 7) >> 3);
  auto spot = [&](u32 c) {
    u32 octets = (width0 + 7) >> 3, width = width0, start = 0;
    const elem* x = x0 + row * ldx0;
    LOCATE(1)
    LOCATE(2)
    LOCATE(3)
    return Spot{x + c * 8, start + c * 8, min(8u, width - c * 8)};
  };
  float kept[KEPT][8], most = 0.f;
#pragma unroll
  for (u32 i = 0; i < KEPT; i++) {
    u32 c = i * blockDim.x + threadIdx.x;
    if (c >= all) continue;
    Spot s = spot(c);
    get(kept[i], s.from, s.count);
#pragma unroll
    for (u32 k = 0; k < 8; k++) most = kept[i][k] != kept[i][k] ? INF : fmaxf(most, fabsf(kept[i][k]));
  }
  for (u32 c = KEPT * blockDim.x + threadIdx.x; c < all; c += blockDim.x) {
    float v[8];
    Spot s = spot(c);
    get(v, s.from, s.count);
#pragma unroll
    for (u32 k = 0; k < 8; k++) most = v[k] != v[k] ? INF : fmaxf(most, fabsf(v[k]));
  }
  float scale = scale_of(block_max(most), TOP), by = row_inverse(scale);
  if (threadIdx.x == 0) scales[row] = scale;
  u8* to = out + row * ldo;
  auto write = [&](const Spot& s, const float (&v)[8]) {
    u32 lo = eightx2(v[0] * by, v[1] * by) | (eightx2(v[2] * by, v[3] * by) << 16);
    u32 hi = eightx2(v[4] * by, v[5] * by) | (eightx2(v[6] * by, v[7] * by) << 16);
    if (s.count == 8 && ((u64)(to + s.to) & 7) == 0) *(uint2*)(to + s.to) = make_uint2(lo, hi);
    else
#pragma unroll
      for (u32 k = 0; k < 8; k++) if (k < s.count) to[s.to + k] = (u8)((k < 4 ? lo : hi) >> (8 * (k & 3)));
  };
#pragma unroll
  for (u32 i = 0; i < KEPT; i++) {
    u32 c = i * blockDim.x + threadIdx.x;
    if (c < all) write(spot(c), kept[i]);
  }
  for (u32 c = KEPT * blockDim.x + threadIdx.x; c < all; c += blockDim.x) {
    float v[8];
    Spot s = spot(c);
    get(v, s.from, s.count);
    write(s, v);
  }
}

// Columns quantized, and turned: out[column, row]. For weights that are not encoded. A block of 256 takes 32 columns, its warps every eighth row.
KERNEL __launch_bounds__(256) quantize_columns(const elem* x, u32 ldx, u8* out, u32 ldo, float* scales, u32 rows, u32 width) {
  __shared__ float part[8][32];
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
  float most = 0.f;
  if (c < width)
    for (u32 r = warp; r < rows; r += 8) {
      float v = load(x + (u64)r * ldx + c);
      most = v != v ? INF : fmaxf(most, fabsf(v));
    }
  part[warp][lane] = most;
  __syncthreads();
#pragma unroll
  for (u32 w = 0; w < 8; w++) most = fmaxf(most, part[w][lane]);
  if (c >= width) return;
  float scale = scale_of(most, 8), by = row_inverse(scale);
  if (warp == 0) scales[c] = scale;
  for (u32 r = warp; r < rows; r += 8) out[(u64)c * ldo + r] = (u8)e4m3x2(load(x + (u64)r * ldx + c) * by, 0.f);
}

// d[m, n] = alpha · (a[m, k] · b[n, k]ᵀ · scaleA[m] · scaleB[n]) + beta · c in plain f32: where the library has no algorithm. Scales may be absent.
// 64×64 tiles, 256 threads of 4×4, 16 of the inner dimension at a time in order. grid (ceil(n / 64), ceil(m / 64)).
DEV float of_e4m3(u32 c) {
  u32 m = c & 7u, e = (c >> 3) & 15u;
  float a = e == 0 ? (float)m * 0.001953125f : __uint_as_float(((e + 120u) << 23) | (m << 20));
  if ((c & 0x7fu) == 0x7fu) a = __uint_as_float(0x7fc00000u);
  return c & 0x80u ? -a : a;
}
#ifdef X_E5M2
DEV float of_eight(u32 c) { return low_f16(c << 8); }
#else
DEV float of_eight(u32 c) { return of_e4m3(c); }
#endif
KERNEL __launch_bounds__(256) float8_dot(const u8* a, u32 lda, const float* scaleA, const u8* b, u32 ldb, const float* scaleB, const other* c, u32 ldc, other* d, u32 ldd,
                                        u32 m, u32 n, u32 k, float alpha, float beta) {
  __shared__ float as[TILE_K][65], bs[TILE_K][65];
  u32 row0 = blockIdx.y * 64, column0 = blockIdx.x * 64, y = threadIdx.x >> 4, x = threadIdx.x & 15;
  float sum[4][4] = {};
  for (u32 k0 = 0; k0 < k; k0 += TILE_K) {
    for (u32 i = threadIdx.x; i < 64 * TILE_K; i += 256) {
      u32 r = i / TILE_K, l = i % TILE_K;
      bool in = k0 + l < k;
      as[l][r] = in && row0 + r < m ? of_eight(a[(u64)(row0 + r) * lda + k0 + l]) : 0.f;
      bs[l][r] = in && column0 + r < n ? of_e4m3(b[(u64)(column0 + r) * ldb + k0 + l]) : 0.f;
    }
    __syncthreads();
    add_tile(sum, as, bs);
    __syncthreads();
  }
#pragma unroll
  for (u32 i = 0; i < 4; i++)
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
      u32 row = row0 + y + 16 * i, column = column0 + x + 16 * j;
      if (row >= m || column >= n) continue;
      float s = sum[i][j] * (scaleA ? scaleA[row] : 1.f) * (scaleB ? scaleB[column] : 1.f);
      store(d + (u64)row * ldd + column, alpha * s + (c ? beta * load(c + (u64)row * ldc + column) : 0.f));
    }
}

// d = sums · scaleA[row] · scaleB[column] (+ c): what a product without scales a row leaves to do. 8 columns a thread.
KERNEL __launch_bounds__(256) scale_sums(const float* sums, u32 lds, const float* scaleA, const float* scaleB, const other* c, u32 ldc, other* d, u32 ldd, u32 rows, u32 width) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float v[8], w[8], r[8] = {}, s = scaleA[o.row];
  get(v, sums + o.row * lds + o.column, o.count);
  get(w, scaleB + o.column, o.count);
  if (c) get(r, c + o.row * ldc + o.column, o.count);
#pragma unroll
  for (u32 k = 0; k < 8; k++) v[k] = v[k] * s * w[k] + r[k];
  put(d + o.row * ldd + o.column, v, o.count);
}
