// Rows that are made and quantized in one kernel, for products of 8-bit floats: what was written in 16 bits and read twice again is written once
// in 8. A block a row of whole aligned octets of 16-bit values; a thread holds KEPT of them, THREADS are a block; several
// blocks are at once on a multiprocessor, so that some load while others wait for their row's largest. A result in 16 bits is written where its address is given.
#ifndef KEPT
#define KEPT 1
#endif
#ifndef THREADS
#define THREADS 512
#endif
DEV void open8(float (&x)[8], const uint4& v) {
  const elem* as = 0;
  x[0] = low(v.x, as); x[1] = high(v.x, as); x[2] = low(v.y, as); x[3] = high(v.y, as);
  x[4] = low(v.z, as); x[5] = high(v.z, as); x[6] = low(v.w, as); x[7] = high(v.w, as);
}
// Rounds, as a value of the program is, and takes it into the largest of the row.
DEV uint4 close8(const float (&x)[8], float& most) {
  const elem* as = 0;
  uint4 v = make_uint4(pack(x[0], x[1], as), pack(x[2], x[3], as), pack(x[4], x[5], as), pack(x[6], x[7], as));
  float r[8];
  open8(r, v);
#pragma unroll
  for (int k = 0; k < 8; k++) most = r[k] != r[k] ? INF : fmaxf(most, fabsf(r[k]));
  return v;
}
DEV uint4 whole(const elem* p) { return *(const uint4*)p; }
DEV uint2 quantized(const uint4& v, float by) {
  float x[8];
  open8(x, v);
  return make_uint2(eightx2(x[0] * by, x[1] * by) | (eightx2(x[2] * by, x[3] * by) << 16), eightx2(x[4] * by, x[5] * by) | (eightx2(x[6] * by, x[7] * by) << 16));
}
DEV float row_scale8(float most, float* scales) {
  float scale = scale_of(block_max(most), TOP);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  return row_inverse(scale);
}
#define FOR_OCTETS(c) _Pragma("unroll") for (u32 i = 0, c = threadIdx.x * 8; i < KEPT; i++, c += blockDim.x * 8) if (c < width)

KERNEL __launch_bounds__(THREADS, THREADS > 768 ? 1 : 1536 / THREADS) swiglu8(const elem* gate, u32 ldg, const elem* up, u32 ldu, elem* y, u32 ldy, u8* out, u32 ldo, float* scales, u32 width) {
  u64 row = blockIdx.x;
  uint4 kept[KEPT];
  float most = 0.f;
  FOR_OCTETS(c) {
    float g[8], u[8];
    open8(g, whole(gate + row * ldg + c));
    open8(u, whole(up + row * ldu + c));
#pragma unroll
    for (int k = 0; k < 8; k++) g[k] = g[k] * sigmoid(g[k]) * u[k];
    kept[i] = close8(g, most);
    if (y) *(uint4*)(y + row * ldy + c) = kept[i];
  }
  float by = row_scale8(most, scales);
  FOR_OCTETS(c) *(uint2*)(out + row * ldo + c) = quantized(kept[i], by);
}

// Both gradients as one row: that of the gate from column 0, that of `up` from column `second`, or the other way round.
KERNEL __launch_bounds__(THREADS, THREADS > 768 ? 1 : 1536 / THREADS) swiglu_grad8(const elem* gate, u32 ldg, const elem* up, u32 ldu, const elem* ct, u32 ldc, elem* dgate, u32 lddg, elem* dup, u32 lddu,
                                           u8* out, u32 ldo, float* scales, u32 width, u32 first, u32 second) {
  u64 row = blockIdx.x;
  uint4 kept[KEPT][2];
  float most = 0.f;
  FOR_OCTETS(c) {
    float g[8], u[8], d[8];
    open8(g, whole(gate + row * ldg + c));
    open8(u, whole(up + row * ldu + c));
    open8(d, whole(ct + row * ldc + c));
#pragma unroll
    for (int k = 0; k < 8; k++) {
      float s = sigmoid(g[k]), x = g[k];
      g[k] = d[k] * u[k] * s * (1.f + x * (1.f - s));
      u[k] = d[k] * x * s;
    }
    kept[i][0] = close8(g, most);
    kept[i][1] = close8(u, most);
    if (dgate) {
      *(uint4*)(dgate + row * lddg + c) = kept[i][0];
      *(uint4*)(dup + row * lddu + c) = kept[i][1];
    }
  }
  float by = row_scale8(most, scales);
  FOR_OCTETS(c) {
    *(uint2*)(out + row * ldo + first + c) = quantized(kept[i][0], by);
    *(uint2*)(out + row * ldo + second + c) = quantized(kept[i][1], by);
  }
}

KERNEL __launch_bounds__(THREADS, THREADS > 768 ? 1 : 1536 / THREADS) rms_norm8(const elem* x, u32 ldx, const elem* w, elem* y, u32 ldy, u8* out, u32 ldo, float* scales, u32 width, float eps) {
  u64 row = blockIdx.x;
  uint4 kept[KEPT];
  float most = 0.f, squares = 0.f;
  FOR_OCTETS(c) {
    float f[8];
    kept[i] = whole(x + row * ldx + c);
    open8(f, kept[i]);
#pragma unroll
    for (int k = 0; k < 8; k++) squares += f[k] * f[k];
  }
  float s = 1.f / sqrtf(block_sum(squares) / (float)width + eps);
  FOR_OCTETS(c) {
    float f[8], g[8];
    open8(f, kept[i]);
    open8(g, whole(w + c));
#pragma unroll
    for (int k = 0; k < 8; k++) f[k] = f[k] * s * g[k];
    kept[i] = close8(f, most);
    if (y) *(uint4*)(y + row * ldy + c) = kept[i];
  }
  float by = row_scale8(most, scales);
  FOR_OCTETS(c) *(uint2*)(out + row * ldo + c) = quantized(kept[i], by);
}

// dx = (residual +) s * (ct*w - x * s^2 * mean(ct*w*x)). dx may lie over ct or residual.
KERNEL __launch_bounds__(THREADS, THREADS > 768 ? 1 : 1536 / THREADS) rms_norm_grad8(const elem* x, u32 ldx, const elem* w, const elem* ct, u32 ldc, const elem* residual, u32 ldr, elem* dx, u32 ldd,
                                             u8* out, u32 ldo, float* scales, u32 width, float eps) {
  u64 row = blockIdx.x;
  uint4 kept[KEPT], grads[KEPT];
  float most = 0.f, squares = 0.f, dot = 0.f;
  FOR_OCTETS(c) {
    float f[8], g[8], d[8];
    kept[i] = whole(x + row * ldx + c);
    grads[i] = whole(ct + row * ldc + c);
    open8(f, kept[i]);
    open8(g, whole(w + c));
    open8(d, grads[i]);
#pragma unroll
    for (int k = 0; k < 8; k++) {
      squares += f[k] * f[k];
      dot += f[k] * (g[k] * d[k]);
    }
  }
  block_sums(squares, dot);
  float s = 1.f / sqrtf(squares / (float)width + eps), mean = dot / (float)width * s * s;
  FOR_OCTETS(c) {
    float f[8], g[8], d[8], r[8] = {};
    open8(f, kept[i]);
    open8(g, whole(w + c));
    open8(d, grads[i]);
    if (residual) open8(r, whole(residual + row * ldr + c));
#pragma unroll
    for (int k = 0; k < 8; k++) f[k] = s * (g[k] * d[k] - f[k] * mean) + r[k];
    kept[i] = close8(f, most);
    *(uint4*)(dx + row * ldd + c) = kept[i];
  }
  float by = row_scale8(most, scales);
  FOR_OCTETS(c) *(uint2*)(out + row * ldo + c) = quantized(kept[i], by);
}
