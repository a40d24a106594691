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

// A decoded weight as the program has it: rounded to `elem`.
DEV float weight_of(float value, float scale) { elem* as = 0; return rounded(__fmul_rn(value, scale), as); }
struct Coded { const u8* codes; const u8* scales; const float* nested; const float* offset; u32 rows; };
#define CODED(i) const u8 *codes##i, const u8 *scales##i, const float *nested##i, const float *offset##i, u32 rows##i
DEV float block_scale(const Coded& w, u64 b, u32 nestedSize) {
  return nestedSize ? nested_scale(w.scales[b], w.nested[b / nestedSize], *w.offset) : ((const float*)w.scales)[b];
}
DEV u32 code_at(const Coded& w, u64 e) {
  u32 pair = w.codes[e >> 1];
  return e & 1 ? pair & 15 : pair >> 4;
}

// Scales of e4m3, constants of a frozen weight. Of its rows: a warp a row.
KERNEL __launch_bounds__(256) nf4_row_scales(CODED(0), float* out, u32 width, u32 block, u32 nestedSize) {
  Coded w = Coded{codes0, scales0, nested0, offset0, rows0};
  u32 lane = threadIdx.x & 31, row = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (row >= w.rows) return;
  float most = 0.f;
  for (u32 c = lane; c < width; c += 32) {
    u64 e = (u64)row * width + c;
    float v = weight_of(CODEBOOK[code_at(w, e)], block_scale(w, e / block, nestedSize));
    most = v != v ? INF : fmaxf(most, fabsf(v));
  }
  most = warp_max(most);
  if (lane == 0) out[row] = scale_of(most, 8);
}
// Of the columns of up to four weights one above the other: a block of 1,024 takes 32 columns, its warps every 32nd row.
KERNEL __launch_bounds__(1024) nf4_column_scales(CODED(0), CODED(1), CODED(2), CODED(3), float* out, u32 width, u32 block, u32 nestedSize) {
  __shared__ float part[32][33];
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
  float most = 0.f;
  for (u32 j = 0; j < 4; j++) {
    Coded w = j == 0 ? Coded{codes0, scales0, nested0, offset0, rows0} : j == 1 ? Coded{codes1, scales1, nested1, offset1, rows1}
            : j == 2 ? Coded{codes2, scales2, nested2, offset2, rows2} : Coded{codes3, scales3, nested3, offset3, rows3};
    if (c < width)
#pragma unroll 4
      for (u32 r = warp; r < w.rows; r += 32) {
        u64 e = (u64)r * width + c;
        float v = weight_of(CODEBOOK[code_at(w, e)], block_scale(w, e / block, nestedSize));
        most = v != v ? INF : fmaxf(most, fabsf(v));
      }
  }
  part[warp][lane] = most;
  __syncthreads();
  most = warp_max(part[lane][warp]);
  if (lane == 0 && blockIdx.x * 32 + warp < width) out[blockIdx.x * 32 + warp] = scale_of(most, 8);
}

// Decoded to e4m3, any block size: 8 codes a thread. Element (row, column) goes to out[row · down + column · along]; scales are of rows or of columns.
KERNEL __launch_bounds__(256) nf4_to_float8(CODED(0), const float* factors, u32 ofColumns, u8* out, u32 down, u32 along, u32 lo, u32 hi, u32 width, u32 block, u32 nestedSize) {
  Coded w = Coded{codes0, scales0, nested0, offset0, rows0};
  u64 n = joined(lo, hi), first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  for (u32 k = 0; k < 8 && first + k < n; k++) {
    u64 e = first + k, row = e / width, column = e - row * width;
    float v = weight_of(CODEBOOK[code_at(w, e)], block_scale(w, e / block, nestedSize));
    out[row * down + column * along] = (u8)e4m3x2(v * inverse_of(factors[ofColumns ? column : row]), 0.f);
  }
}

// nf4/64/256 in rows of whole blocks to e4m3: a thread takes 16 codes. Four threads share a block of 64: each makes four of its sixteen bytes, and
// bytes are then picked by code. A thread block takes a nested group of 16,384. Up to four matrices a launch.
struct Job8 { const u8* codes; const u8* scales; const float* nested; const float* offset; const float* factors; u8* out; u32 ld, width, n; };
#define JOB8(i) const u8 *codes##i, const u8 *scales##i, const float *nested##i, const float *offset##i, const float *factors##i, u8 *out##i, u32 ld##i, u32 width##i, u32 n##i
#define TAKE8(i) if (at >= tiles) { at -= tiles; job = Job8{codes##i, scales##i, nested##i, offset##i, factors##i, out##i, ld##i, width##i, n##i}; tiles = (n##i + 16383u) >> 14; }
// Bytes of a table of sixteen (four words) for the codes in the four lowest nibbles.
DEV u32 pick4(u32 t0, u32 t1, u32 t2, u32 t3, u32 codes) {
  u32 low = codes & 0x7777u;
  return __byte_perm(__byte_perm(t0, t1, low), __byte_perm(t2, t3, low), 0x3210u | ((codes >> 1) & 0x4444u));
}
KERNEL __launch_bounds__(256) nf4_to_float8_groups(JOB8(0), JOB8(1), JOB8(2), JOB8(3)) {
  u32 t = threadIdx.x, at = blockIdx.x, tiles = (n0 + 16383u) >> 14, lane = t & 31, q = t & 3;
  Job8 job = Job8{codes0, scales0, nested0, offset0, factors0, out0, ld0, width0, n0};
  TAKE8(1)
  TAKE8(2)
  TAKE8(3)
  u32 base = at << 14;
  float mean = *job.offset, second = job.nested[at], own[4];
#pragma unroll
  for (u32 k = 0; k < 4; k++) own[k] = CODEBOOK[q * 4 + k];
  u32 words[4][2];
#pragma unroll
  for (u32 i = 0; i < 4; i++) {
    u32 e = base + (i * 256 + t) * 16;
    const u32* from = (const u32*)job.codes + (e >> 3);
#pragma unroll
    for (u32 k = 0; k < 2; k++) words[i][k] = e < job.n ? stream(from + k) : 0;
  }
#pragma unroll
  for (u32 i = 0; i < 4; i++) {
    u32 e = base + (i * 256 + t) * 16, there = e < job.n ? e : 0, row = there / job.width;
    float scale = nested_scale(job.scales[there >> 6], second, mean), by = inverse_of(job.factors[row]), v[4];
#pragma unroll
    for (u32 k = 0; k < 4; k++) v[k] = weight_of(own[k], scale) * by;
    u32 mine = e4m3x4(v[0], v[1], v[2], v[3]), table[4], o[4];
#pragma unroll
    for (u32 k = 0; k < 4; k++) table[k] = __shfl_sync(~0u, mine, (lane & ~3u) + k);
#pragma unroll
    for (u32 k = 0; k < 2; k++) {
      u32 w = words[i][k];
      w = ((w >> 4) & 0x0f0f0f0fu) | ((w & 0x0f0f0f0fu) << 4);
      o[2 * k] = pick4(table[0], table[1], table[2], table[3], w & 0xffffu);
      o[2 * k + 1] = pick4(table[0], table[1], table[2], table[3], w >> 16);
    }
    if (e < job.n) *(uint4*)(job.out + (u64)row * job.ld + (e - row * job.width)) = make_uint4(o[0], o[1], o[2], o[3]);
  }
}

// The same weights turned, out[column, row], with a scale a column: tiles of 128 rows by 64 columns. A thread takes 4 rows of 8 codes; what it
// makes of a column is one word of the tile, which is then written by rows. Up to four matrices, whose rows follow each other in `out`.
#define TAKET(i) if (at >= tiles) { at -= tiles; start += job.rows; job = Coded{codes##i, scales##i, nested##i, offset##i, rows##i}; tiles = ((rows##i + 127) >> 7) * across; }
KERNEL __launch_bounds__(256) nf4_to_float8_turned(CODED(0), CODED(1), CODED(2), CODED(3), const float* factors, u8* out, u32 ld, u32 width) {
  __shared__ u32 tile[64][33];
  __shared__ float values[16], scale[128];
  u32 t = threadIdx.x, at = blockIdx.x, across = width >> 6, tiles = ((rows0 + 127) >> 7) * across, start = 0;
  Coded job = Coded{codes0, scales0, nested0, offset0, rows0};
  TAKET(1)
  TAKET(2)
  TAKET(3)
  u32 row0 = at / across * 128, column0 = (at - at / across * across) * 64, octet = t & 7, quad = t >> 3;
  u32 word[4];
#pragma unroll
  for (u32 r = 0; r < 4; r++) {
    u32 row = row0 + quad * 4 + r;
    word[r] = row < job.rows ? stream((const u32*)job.codes + (((u64)row * width + column0) >> 3) + octet) : 0;
  }
  if (t < 16) values[t] = CODEBOOK[t];
  if (t < 128) {
    u64 b = ((u64)min(row0 + t, job.rows - 1) * width + column0) >> 6;
    scale[t] = nested_scale(job.scales[b], job.nested[b >> 8], *job.offset);
  }
  float4 f0 = ((const float4*)(factors + column0 + octet * 8))[0], f1 = ((const float4*)(factors + column0 + octet * 8))[1];
  float by[8] = {inverse_of(f0.x), inverse_of(f0.y), inverse_of(f0.z), inverse_of(f0.w), inverse_of(f1.x), inverse_of(f1.y), inverse_of(f1.z), inverse_of(f1.w)};
  __syncthreads();
  float s[4];
#pragma unroll
  for (u32 r = 0; r < 4; r++) s[r] = scale[quad * 4 + r];
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    // The first code of a byte is in its high nibble.
    u32 shift = (k >> 1) * 8 + (k & 1 ? 0 : 4);
    float v[4];
#pragma unroll
    for (u32 r = 0; r < 4; r++) v[r] = weight_of(values[(word[r] >> shift) & 15], s[r]) * by[k];
    tile[octet * 8 + k][quad] = e4m3x4(v[0], v[1], v[2], v[3]);
  }
  __syncthreads();
  u32 column = t >> 2, part = t & 3;
  u32* from = tile[column] + part * 8;
  u8* to = out + (u64)(column0 + column) * ld + start + row0 + part * 32;
#pragma unroll
  for (u32 k = 0; k < 2; k++)
    if (row0 + part * 32 + k * 16 < job.rows) *(uint4*)(to + k * 16) = make_uint4(from[k * 4], from[k * 4 + 1], from[k * 4 + 2], from[k * 4 + 3]);
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
