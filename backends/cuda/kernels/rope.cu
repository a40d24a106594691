// Rotary position embedding in the half-split layout: halves (a, b) of a head become (a·cos − b·sin, b·cos + a·sin).

// One thread has one frequency (ir/frequencies.ts) and 16 positions. Block 64, grid (ceil(half / 64), ceil(rows / 16)).
// Tables f32 [rows, half], by way of f64: at position 100,000 an f32 angle is off by 0.004.
#define F64(name) u32 name##Lo, u32 name##Hi
#define JOIN(name) __hiloint2double((int)name##Hi, (int)name##Lo)
DEV double frequency(u32 i, u32 half, double theta, double factor, double lowFreq, double highFreq, double context) {
  double f = pow(theta, (-2.0 * i) / (2.0 * half));
  if (highFreq == 0.0) return f / factor;
  double turns = context * f / (2.0 * 3.141592653589793), smooth = (turns - lowFreq) / (highFreq - lowFreq);
  double keep = fmin(1.0, fmax(0.0, smooth));
  return (1.0 - keep) * (f / factor) + keep * f;
}
KERNEL __launch_bounds__(64) rope_table(const int* positions, float* cosines, float* sines, u32 rows, u32 half, F64(theta), F64(factor), F64(low), F64(high), F64(context)) {
  u32 i = blockIdx.x * 64 + threadIdx.x;
  if (i >= half) return;
  double f = frequency(i, half, JOIN(theta), JOIN(factor), JOIN(low), JOIN(high), JOIN(context));
  for (u32 r = blockIdx.y * 16; r < rows && r < blockIdx.y * 16 + 16; r++) {
    double angle = (double)positions[r] * f;
    cosines[(u64)r * half + i] = (float)cos(angle);
    sines[(u64)r * half + i] = (float)sin(angle);
  }
}

// One thread turns up to 8 pairs of one head.
DEV void turn(u32 i, const elem* x, u32 ldx, elem* out, u32 ldo, const float* cosines, const float* sines, u32 row, u32 half, float sign) {
  u32 per = (half + 7) >> 3, head = i / per, j = (i - head * per) * 8, n = min(8u, half - j);
  u64 at = (u64)head * 2 * half + j, table = (u64)row * half + j;
  float a[8], b[8], c[8], s[8];
  get(a, x + (u64)row * ldx + at, n);
  get(b, x + (u64)row * ldx + at + half, n);
  get(c, cosines + table, n);
  get(s, sines + table, n);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    float u = a[k], v = b[k], z = sign * s[k];
    a[k] = u * c[k] - v * z;
    b[k] = v * c[k] + u * z;
  }
  put(out + (u64)row * ldo + at, a, n);
  put(out + (u64)row * ldo + at + half, b, n);
}
// `heads` heads of x and, where given, `more` heads of y (queries and keys in one launch); results may lie over the operands.
// sign −1 turns back. Block 128, grid (ceil(pieces / 128), rows) with the rows beyond 65,535 in z.
KERNEL __launch_bounds__(128) rope_rows(const elem* x, u32 ldx, elem* out, u32 ldo, u32 heads, const elem* y, u32 ldy, elem* outy, u32 ldoy, u32 more,
                 const float* cosines, const float* sines, u32 rows, u32 half, float sign) {
  u32 per = (half + 7) >> 3, i = blockIdx.x * 128 + threadIdx.x, row = blockIdx.z * 65535u + blockIdx.y;
  if (row >= rows || i >= per * (heads + more)) return;
  if (i < per * heads) turn(i, x, ldx, out, ldo, cosines, sines, row, half, sign);
  else turn(i - per * heads, y, ldy, outy, ldoy, cosines, sines, row, half, sign);
}
