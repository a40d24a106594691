// RMSNorm, one block a row: ceil(width / 8) threads up to 1,024. A thread keeps its first 8 elements in registers; wider rows are read again.
// The scale of a row is recomputed in the backward, so nothing is saved for it.
DEV float row_scale(float squares, u32 width, float eps) { return 1.f / sqrtf(squares / (float)width + eps); }

// x = a + b rounded (and written to `sum`) where b is given, else x = a; y = x * scale * w.
KERNEL __launch_bounds__(1024) rms_norm(const elem* a, u32 lda, const elem* b, u32 ldb, elem* sum, u32 lds, const elem* w, elem* y, u32 ldy, u32 width, float eps) {
  u64 row = blockIdx.x;
  u32 step = blockDim.x * 8, mine = threadIdx.x * 8;
  const elem* x = b ? sum + row * lds : a + row * lda;
  // The first piece of x and w stays in registers, w asked for before the sum is waited for.
  float kept[8], weights[8], squares = 0.f;
  if (mine < width) get(weights, w + mine, min(8u, width - mine));
  for (u32 c = mine; c < width; c += step) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, a + row * lda + c, n);
    if (b) {
      float r[8];
      get(r, b + row * ldb + c, n);
#pragma unroll
      for (int k = 0; k < 8; k++) v[k] = rounded(v[k] + r[k], b);
      put(sum + row * lds + c, v, n);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) squares += v[k] * v[k];
    if (c == mine)
#pragma unroll
      for (int k = 0; k < 8; k++) kept[k] = v[k];
  }
  float s = row_scale(block_sum(squares), width, eps);
  for (u32 c = mine; c < width; c += step) {
    float v[8], g[8];
    u32 n = min(8u, width - c);
    if (c != mine) {
      get(v, x + c, n);
      get(g, w + c, n);
    } else
#pragma unroll
      for (int k = 0; k < 8; k++) { v[k] = kept[k]; g[k] = weights[k]; }
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = v[k] * s * g[k];
    put(y + row * ldy + c, v, n);
  }
}

// dx = (residual +) s * (ct*w - x * s^2 * mean(ct*w*x)): both sums of a row come from one pass.
KERNEL __launch_bounds__(1024) rms_norm_grad(const elem* x, u32 ldx, const elem* w, const elem* ct, u32 ldc, const elem* residual, u32 ldr, elem* dx, u32 ldd, u32 width, float eps) {
  u64 row = blockIdx.x;
  u32 step = blockDim.x * 8, mine = threadIdx.x * 8;
  // The first pieces stay in registers, the residual's too: it is asked for before the sums are waited for.
  float xs[8], gs[8], rs[8] = {}, squares = 0.f, dot = 0.f;
  if (residual && mine < width) get(rs, residual + row * ldr + mine, min(8u, width - mine));
  for (u32 c = mine; c < width; c += step) {
    float v[8], g[8], d[8];
    u32 n = min(8u, width - c);
    get(v, x + row * ldx + c, n);
    get(g, w + c, n);
    get(d, ct + row * ldc + c, n);
#pragma unroll
    for (int k = 0; k < 8; k++) {
      g[k] *= d[k];
      squares += v[k] * v[k];
      dot += v[k] * g[k];
    }
    if (c == mine)
#pragma unroll
      for (int k = 0; k < 8; k++) { xs[k] = v[k]; gs[k] = g[k]; }
  }
  block_sums(squares, dot);
  float s = row_scale(squares, width, eps);
  float mean = dot / (float)width * s * s;
  for (u32 c = mine; c < width; c += step) {
    float v[8], g[8], r[8] = {};
    u32 n = min(8u, width - c);
    if (c == mine)
#pragma unroll
      for (int k = 0; k < 8; k++) { v[k] = xs[k]; g[k] = gs[k]; r[k] = rs[k]; }
    else {
      float d[8];
      get(v, x + row * ldx + c, n);
      get(g, w + c, n);
      get(d, ct + row * ldc + c, n);
#pragma unroll
      for (int k = 0; k < 8; k++) g[k] *= d[k];
      if (residual) get(r, residual + row * ldr + c, n);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = r[k] + s * (g[k] - v[k] * mean);
    put(dx + row * ldd + c, v, n);
  }
}

// The scale of every row, for the gradient by the weight (reduce.cu).
KERNEL __launch_bounds__(1024) rms_scales(const elem* x, u32 ldx, float* scale, u32 width, float eps) {
  u64 row = blockIdx.x;
  float squares = 0.f;
  for (u32 c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
    float v[8];
    get(v, x + row * ldx + c, min(8u, width - c));
#pragma unroll
    for (int k = 0; k < 8; k++) squares += v[k] * v[k];
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) scale[row] = row_scale(squares, width, eps);
}
