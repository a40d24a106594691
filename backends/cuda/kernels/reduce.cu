// Sums over whole tensors in two launches with a fixed order: one partial a block, then one block over the partials. f32 throughout.
template <class F> DEV float partial(const elem* a, u32 lda, u32 rows, u32 width, F f) {
  float lane[8] = {};
  u64 step = (u64)gridDim.x * blockDim.x, total = (u64)rows * ((width + 7) >> 3);
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
    Octet o = octet_at(i, rows, width);
    float x[8];
    get(x, a + o.row * lda + o.column, o.count);
#pragma unroll
    for (int k = 0; k < 8; k++) lane[k] += f(x[k]);
  }
  return block_sum(((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7])));
}
KERNEL __launch_bounds__(256) sum_partial(const elem* a, u32 lda, float* part, u32 rows, u32 width) {
  float s = partial(a, lda, rows, width, [](float x) { return x; });
  if (threadIdx.x == 0) part[blockIdx.x] = s;
}
KERNEL __launch_bounds__(256) squares_partial(const elem* a, u32 lda, float* part, u32 rows, u32 width) {
  float s = partial(a, lda, rows, width, [](float x) { return x * x; });
  if (threadIdx.x == 0) part[blockIdx.x] = s;
}
// Partials count the values that are not finite; a count may saturate in f32, it never comes back to 0.
KERNEL __launch_bounds__(256) finite_partial(const elem* a, u32 lda, float* part, u32 rows, u32 width) {
  float s = partial(a, lda, rows, width, [](float x) { return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u ? 1.f : 0.f; });
  if (threadIdx.x == 0) part[blockIdx.x] = s;
}
DEV float total(const float* part, u32 n) {
  float s = 0.f;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) s += part[i];
  return block_sum(s);
}
KERNEL __launch_bounds__(1024) sum_total(const float* part, u32 n, float* out) {
  float s = total(part, n);
  if (threadIdx.x == 0) *out = s;
}
KERNEL __launch_bounds__(1024) finite_total(const float* part, u32 n, u8* out) {
  float s = total(part, n);
  if (threadIdx.x == 0) *out = s == 0.f;
}

// Columns summed over rows: 32 columns a block, 8 warps over the rows, then the warps in order. Block 256.
template <class F> DEV void columns(other* out, u32 rows, u32 width, F f) {
  __shared__ float part[8][32];
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
  float s = 0.f;
  if (c < width)
    for (u32 r = warp; r < rows; r += 8) s += f(r, c);
  part[warp][lane] = s;
  __syncthreads();
  if (warp) return;
#pragma unroll
  for (int k = 1; k < 8; k++) s += part[k][lane];
  if (c < width) store(out + c, s);
}
KERNEL __launch_bounds__(256) sum_rows(const elem* a, u32 lda, other* out, u32 rows, u32 width) {
  columns(out, rows, width, [=](u32 r, u32 c) { return load(a + (u64)r * lda + c); });
}
// The gradient of an RMSNorm weight: ct times x times its row's scale.
KERNEL __launch_bounds__(256) scaled_product_rows(const elem* x, u32 ldx, const elem* ct, u32 ldc, const float* scale, other* out, u32 rows, u32 width) {
  columns(out, rows, width, [=](u32 r, u32 c) { return load(ct + (u64)r * ldc + c) * load(x + (u64)r * ldx + c) * scale[r]; });
}
// The gradient of an embedding: the rows of ct summed by token id. One block a word and 2,048 columns; tokens in order.
KERNEL __launch_bounds__(256) embed_grad(const int* ids, const elem* ct, u32 ldc, other* out, u32 ldo, u32 tokens, u32 width) {
  __shared__ u32 hits[8];
  u32 t = threadIdx.x, first = blockIdx.y * 2048 + t;
  int word = (int)blockIdx.x;
  float s[8] = {};
  for (u32 base = 0; base < tokens; base += 256) {
    u32 mine = __ballot_sync(~0u, base + t < tokens && ids[base + t] == word);
    if ((t & 31) == 0) hits[t >> 5] = mine;
    __syncthreads();
    for (u32 w = 0; w < 8; w++)
      for (u32 bits = hits[w]; bits; bits &= bits - 1) {
        const elem* row = ct + (u64)(base + w * 32 + __ffs((int)bits) - 1) * ldc;
#pragma unroll
        for (u32 k = 0; k < 8; k++) if (first + k * 256 < width) s[k] += load(row + first + k * 256);
      }
    __syncthreads();
  }
#pragma unroll
  for (u32 k = 0; k < 8; k++) if (first + k * 256 < width) store(out + (u64)blockIdx.x * ldo + first + k * 256, s[k]);
}
