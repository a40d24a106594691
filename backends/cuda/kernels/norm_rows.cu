// RMSNorm of whole aligned rows of 16-bit values, 8 a thread: a row is read once, and few registers keep many blocks waiting at once.
// THREADS of a block. width % 8 == 0 and width <= 8 * THREADS; every operand is aligned to 16 bytes, first element and rows.
#ifndef THREADS
#define THREADS 512
#endif
DEV void unpack8(float (&x)[8], const uint4& v) {
  const elem* as = 0;
  x[0] = low(v.x, as); x[1] = high(v.x, as); x[2] = low(v.y, as); x[3] = high(v.y, as);
  x[4] = low(v.z, as); x[5] = high(v.z, as); x[6] = low(v.w, as); x[7] = high(v.w, as);
}
DEV uint4 pack8(const float (&x)[8]) {
  const elem* as = 0;
  return make_uint4(pack(x[0], x[1], as), pack(x[2], x[3], as), pack(x[4], x[5], as), pack(x[6], x[7], as));
}
DEV uint4 zero8() { return make_uint4(0, 0, 0, 0); }
DEV uint4 at8(const elem* p, u32 c) { return *(const uint4*)(p + c); }

// y = x * scale * w.
KERNEL __launch_bounds__(THREADS) rms_norm_whole(const elem* x, u32 ldx, const elem* w, elem* y, u32 ldy, u32 width, float eps) {
  GO();
  WAIT();
  u64 row = blockIdx.x;
  u32 c = threadIdx.x * 8;
  bool mine = c < width;
  uint4 v = mine ? at8(x + row * ldx, c) : zero8(), g = mine ? at8(w, c) : zero8();
  float f[8], squares = 0.f;
  unpack8(f, v);
#pragma unroll
  for (int k = 0; k < 8; k++) squares += f[k] * f[k];
  float s = 1.f / sqrtf(block_sum(squares) / (float)width + eps);
  if (!mine) return;
  float h[8];
  unpack8(f, v);
  unpack8(h, g);
#pragma unroll
  for (int k = 0; k < 8; k++) f[k] = f[k] * s * h[k];
  *(uint4*)(y + row * ldy + c) = pack8(f);
}

// dx = (residual +) s * (ct*w - x * s^2 * mean(ct*w*x)).
KERNEL __launch_bounds__(THREADS) rms_norm_grad_whole(const elem* x, u32 ldx, const elem* w, const elem* ct, u32 ldc, const elem* residual, u32 ldr, elem* dx, u32 ldd, u32 width, float eps) {
  u64 row = blockIdx.x;
  u32 c = threadIdx.x * 8;
  bool mine = c < width;
  uint4 v = mine ? at8(x + row * ldx, c) : zero8(), g = mine ? at8(w, c) : zero8(), d = mine ? at8(ct + row * ldc, c) : zero8();
  uint4 r = mine && residual ? at8(residual + row * ldr, c) : zero8();
  float f[8], a[8], b[8], squares = 0.f, dot = 0.f;
  unpack8(f, v);
  unpack8(a, g);
  unpack8(b, d);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    squares += f[k] * f[k];
    dot += f[k] * (a[k] * b[k]);
  }
  block_sums(squares, dot);
  float s = 1.f / sqrtf(squares / (float)width + eps), mean = dot / (float)width * s * s;
  if (!mine) return;
  unpack8(f, v);
  unpack8(a, g);
  unpack8(b, d);
#pragma unroll
  for (int k = 0; k < 8; k++) f[k] = s * (a[k] * b[k] - f[k] * mean);
  unpack8(a, r);
#pragma unroll
  for (int k = 0; k < 8; k++) f[k] += a[k];
  *(uint4*)(dx + row * ldd + c) = pack8(f);
}
