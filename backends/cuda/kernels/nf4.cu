// NF4 (ir/nf4.ts is the definition; every step here gives its bits). Layout: ir/type.ts `parts`. Two codes a byte, the first in the high nibble.
// Decoding, any block size and width: 8 codes a thread. `other` is the result's type. nestedSize 0: scales are f32.
KERNEL __launch_bounds__(256) nf4_decode(const u8* codes, const u8* scales, const float* nested, const float* offset, other* out, u32 ld, u32 lo, u32 hi, u32 width, u32 block, u32 nestedSize) {
  u64 n = joined(lo, hi), first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (first >= n) return;
  float mean = nestedSize ? *offset : 0.f;
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    u64 e = first + k;
    if (e >= n) return;
    u64 b = e / block, row = e / width;
    float scale = nestedSize ? nested_scale(scales[b], nested[b / nestedSize], mean) : ((const float*)scales)[b];
    u32 pair = codes[e >> 1];
    store(out + row * ld + (e - row * width), __fmul_rn(CODEBOOK[e & 1 ? pair & 15 : pair >> 4], scale));
  }
}

// Decoding of nf4/64/256, rows of whole octets: one block of 256 threads takes a nested group of 16,384 weights. Thread i decodes the scale of
// block i once; then 8 sweeps of 4 bytes in, 16 (f32: 32) out a thread. Up to four matrices a launch, each a block range of its own.
struct Job { const u8* codes; const u8* scales; const float* nested; const float* offset; other* out; u32 ld, width, n; };
#define JOB(i) const u8 *codes##i, const u8 *scales##i, const float *nested##i, const float *offset##i, other *out##i, u32 ld##i, u32 width##i, u32 n##i
#define TAKE(i) if (at >= tiles) { at -= tiles; job = Job{codes##i, scales##i, nested##i, offset##i, out##i, ld##i, width##i, n##i}; tiles = (n##i + 16383u) >> 14; }
KERNEL __launch_bounds__(256) nf4_decode_groups(JOB(0), JOB(1), JOB(2), JOB(3)) {
  __shared__ float values[16], scale[256];
  u32 t = threadIdx.x, at = blockIdx.x, tiles = (n0 + 16383u) >> 14;
  Job job = Job{codes0, scales0, nested0, offset0, out0, ld0, width0, n0};
  TAKE(1)
  TAKE(2)
  TAKE(3)
  u32 base = at << 14;
  const u32* words = (const u32*)job.codes + (base >> 3);
  u32 word[8];
#pragma unroll
  for (u32 i = 0; i < 8; i++) word[i] = base + (i * 256 + t) * 8 < job.n ? stream(words + i * 256 + t) : 0;
  if (t < 16) values[t] = CODEBOOK[t];
  u32 b = (base >> 6) + t;
  if (b * 64ull < job.n) scale[t] = nested_scale(job.scales[b], job.nested[at], *job.offset);
  __syncthreads();
#pragma unroll
  for (u32 i = 0; i < 8; i++) {
    u32 c = i * 256 + t, e = base + c * 8;
    float s = scale[c >> 3], x[8];
#pragma unroll
    for (u32 k = 0; k < 4; k++) {
      u32 pair = word[i] >> (8 * k);
      x[2 * k] = __fmul_rn(values[(pair >> 4) & 15], s);
      x[2 * k + 1] = __fmul_rn(values[pair & 15], s);
    }
    u32 row = e / job.width;
    if (e < job.n) store8(job.out + (u64)row * job.ld + (e - row * job.width), x);
  }
}

// Encoding, step 1: the largest absolute value of each block. One warp a block of values; 8 warps a thread block.
KERNEL __launch_bounds__(256) nf4_maxima(const elem* x, float* maxima, u32 lo, u32 hi, u32 block) {
  u64 n = joined(lo, hi), b = (u64)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (b * block >= n) return;
  float m = 0.f;
  for (u32 i = threadIdx.x & 31; i < block && b * block + i < n; i += 32) {
    float a = fabsf(load(x + b * block + i));
    if (a > m) m = a;
  }
  m = warp_max(m);
  if ((threadIdx.x & 31) == 0) maxima[b] = m;
}
DEV u32 nf4_code(float x, const float* midpoints) {
  u32 k = 0;
#pragma unroll
  for (u32 step = 8; step; step >>= 1) if (x > midpoints[k + step - 1]) k += step;
  return k;
}
// Reciprocal of a block's maximum. A block of zeros has none: 1e38 is 1 / 1e-38.
DEV float inverse(float m) { return (double)m > 1e-38 ? __frcp_rn(m) : 1e38f; }
// Step 2: codes, 8 a thread (4 bytes). An odd last code has an empty low nibble.
KERNEL __launch_bounds__(256) nf4_codes(const elem* x, const float* maxima, u8* codes, u32 lo, u32 hi, u32 block) {
  __shared__ float midpoints[16];
  if (threadIdx.x < 15) midpoints[threadIdx.x] = __fmul_rn(__fadd_rn(CODEBOOK[threadIdx.x + 1], CODEBOOK[threadIdx.x]), 0.5f);
  __syncthreads();
  u64 n = joined(lo, hi), first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (first >= n) return;
  u32 count = n - first < 8 ? (u32)(n - first) : 8;
  float v[8];
  get(v, x + first, count);
#pragma unroll
  for (u32 k = 0; k < 8; k += 2) {
    if (k >= count) return;
    u32 pair = nf4_code(__fmul_rn(v[k], inverse(maxima[(first + k) / block])), midpoints) << 4;
    if (k + 1 < count) pair |= nf4_code(__fmul_rn(v[k + 1], inverse(maxima[(first + k + 1) / block])), midpoints);
    codes[(first + k) >> 1] = (u8)pair;
  }
}
// Step 3, double quantization: the mean of the maxima, summed in f64 in their order. Where no partial sum can round (the total fits 53 bits
// above the lowest bit of any maximum) every order gives the same sum and 1,024 threads share the work; else one thread walks. One block.
KERNEL __launch_bounds__(1024) nf4_mean(const float* maxima, float* offset, u32 n) {
  __shared__ double sums[1024];
  __shared__ int lowest[1024];
  u32 t = threadIdx.x;
  double s = 0.0;
  int low = 1 << 20;
  for (u32 i = t; i < n; i += 1024) {
    float m = maxima[i];
    s += (double)m;
    u32 bits = __float_as_uint(m), exponent = bits >> 23, mantissa = bits & 0x7fffffu;
    if (bits) low = min(low, (int)(exponent ? exponent : 1u) + __ffs((int)(mantissa | (exponent ? 0x800000u : 0u))) - 1);
  }
  sums[t] = s;
  lowest[t] = low;
  __syncthreads();
  for (u32 o = 512; o; o >>= 1) {
    if (t < o) {
      sums[t] += sums[t + o];
      lowest[t] = min(lowest[t], lowest[t + o]);
    }
    __syncthreads();
  }
  if (t) return;
  // A lowest bit of biased place p weighs 2^(p − 150); 2^52 of them leave a bit for the rounding of the total itself.
  s = sums[0];
  if (!(s < ldexp(1.0, lowest[0] - 150 + 52))) {
    s = 0.0;
    for (u32 i = 0; i < n; i++) s += (double)maxima[i];
  }
  *offset = (float)(s / (double)n);
}
// Nearest entry of the dynamic map, the lower code on a tie; differences in f64 as the definition takes them.
DEV u32 dynamic_code(float x, const float* map) {
  u32 lo = 0, hi = 255;
  while (hi - lo > 1) {
    u32 mid = (lo + hi) >> 1;
    if (map[mid] <= x) lo = mid;
    else hi = mid;
  }
  return (double)x - (double)map[lo] > (double)map[hi] - (double)x ? hi : lo;
}
// Step 4: the scales of each nested group, one block of 256 threads a group.
KERNEL __launch_bounds__(256) nf4_nested(const float* maxima, const float* offset, u8* codes, float* nested, u32 n, u32 nestedSize) {
  __shared__ float map[256];
  u32 t = threadIdx.x;
  map[t] = dynamic_value(t);
  u64 first = (u64)blockIdx.x * nestedSize;
  float mean = *offset, m = 0.f;
  for (u32 i = t; i < nestedSize && first + i < n; i += 256) m = fmaxf(m, fabsf(__fsub_rn(maxima[first + i], mean)));
  m = block_max(m);
  if (t == 0) nested[blockIdx.x] = m;
  float by = m == 0.f ? 0.f : __frcp_rn(m);
  for (u32 i = t; i < nestedSize && first + i < n; i += 256) codes[first + i] = (u8)dynamic_code(__fmul_rn(__fsub_rn(maxima[first + i], mean), by), map);
}
