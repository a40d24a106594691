// One more token of each sequence: its query and key are turned, key and value go into the caches at its position, and the query sees all that is
// there up to itself. One block of WARPS warps a sequence, key head and part of the cache; the G query heads of a key head share what is read.
// D / 8 lanes read a row of D elements by 16 bytes; a group of lanes keeps its own running softmax over the rows it takes, and all are joined in a
// fixed order. Only entries up to the position are touched. D / 8 is a power of two.
#ifndef D
#define D 128
#endif
#ifndef G
#define G 1
#endif
#define LANES (D / 8)
#define SETS (32 / LANES)
#define STRIDE (WARPS * SETS)
#define AHEAD 4
#define HALF (D / 2)

// Halves (a, b) of a head turned by its row's angles and rounded, as rope.cu has it.
DEV void turn(float* to, const elem* x, const float* cosines, const float* sines) {
  for (u32 c = threadIdx.x; c < HALF; c += WARPS * 32) {
    float a = load(x + c), b = load(x + c + HALF), z = sines[c];
    to[c] = rounded(a * cosines[c] - b * z, x);
    to[c + HALF] = rounded(b * cosines[c] + a * z, x);
  }
}

// A softmax so far: its maximum, the sum of its weights, and the weighted sum of a lane's 8 columns.
struct Running { float top, sum, value[8]; };
// Nothing seen yet weighs nothing.
DEV float fade(float top, float best) { return top == -INF ? 0.f : exponential(top - best); }

// grid (key heads, sequences, parts). `partial` null: one part, results go to `out`; else f32 [sequence, head, part, D + 2] for token_join.
KERNEL __launch_bounds__(WARPS * 32) token_attention(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const float* cosines, const float* sines,
                                                     elem* keys, elem* values, const int* positions, elem* out, u32 ldo, float* partial, u32 capacity, float scale) {
  __shared__ float query[G * D], key[D], value[D], tops[WARPS * G], sums[WARPS * G], joined_values[WARPS * G * D];
  GO();
  WAIT();
  u32 warp = threadIdx.x >> 5, lane = threadIdx.x & 31, set = lane / LANES, column = lane % LANES * 8;
  u32 kv = blockIdx.x, row = blockIdx.y, width = gridDim.x * D;
  int position = positions[row];
  u32 n = position < 0 ? 0 : min(capacity, (u32)position + 1), each = (n + gridDim.z - 1) / gridDim.z;
  u32 from = blockIdx.z * each, to = min(n, from + each);
  // This block's part holds the new entry, which is still in nobody's cache.
  u32 own = position < 0 ? 0xffffffffu : (u32)position;
  cosines += (u64)row * HALF;
  sines += (u64)row * HALF;
  for (u32 g = 0; g < G; g++) turn(query + g * D, q + (u64)row * ldq + (kv * G + g) * D, cosines, sines);
  turn(key, k + (u64)row * ldk + kv * D, cosines, sines);
  for (u32 c = threadIdx.x; c < D; c += WARPS * 32) value[c] = load(v + (u64)row * ldv + kv * D + c);
  __syncthreads();
  u64 first = (u64)row * capacity * width + kv * D;
  if (own >= from && own < to)
    for (u32 c = threadIdx.x; c < D; c += WARPS * 32) {
      store(keys + first + (u64)own * width + c, key[c]);
      store(values + first + (u64)own * width + c, value[c]);
    }
  float mine[G][8];
  Running s[G];
#pragma unroll
  for (u32 g = 0; g < G; g++) {
    s[g].top = -INF;
    s[g].sum = 0.f;
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
      mine[g][i] = query[g * D + column + i] * scale;
      s[g].value[i] = 0.f;
    }
  }
  for (u32 base = from + warp * SETS + set; base - set < to; base += STRIDE * AHEAD) {
    float a[AHEAD][8], b[AHEAD][8];
#pragma unroll
    for (u32 u = 0; u < AHEAD; u++) {
      // Beyond the part: any entry of it, for no weight.
      u32 j = base + u * STRIDE;
      u64 at = first + (u64)(j < to ? j : from) * width + column;
      load8(a[u], keys + at);
      load8(b[u], values + at);
    }
#pragma unroll
    for (u32 u = 0; u < AHEAD; u++)
      if (base + u * STRIDE == own)
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
          a[u][i] = key[column + i];
          b[u][i] = value[column + i];
        }
#pragma unroll
    for (u32 g = 0; g < G; g++) {
      float score[AHEAD], best = s[g].top;
#pragma unroll
      for (u32 u = 0; u < AHEAD; u++) {
        float x = 0.f;
#pragma unroll
        for (u32 i = 0; i < 8; i++) x = fmaf(mine[g][i], a[u][i], x);
#pragma unroll
        for (u32 o = LANES / 2; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
        score[u] = base + u * STRIDE < to ? x : -INF;
        best = fmaxf(best, score[u]);
      }
      float keep = fade(s[g].top, best);
      s[g].top = best;
      s[g].sum *= keep;
#pragma unroll
      for (u32 i = 0; i < 8; i++) s[g].value[i] *= keep;
#pragma unroll
      for (u32 u = 0; u < AHEAD; u++) {
        float p = fade(score[u], best);
        s[g].sum += p;
#pragma unroll
        for (u32 i = 0; i < 8; i++) s[g].value[i] = fmaf(p, b[u][i], s[g].value[i]);
      }
    }
  }
#pragma unroll
  for (u32 g = 0; g < G; g++) {
#pragma unroll
    for (u32 o = LANES; o < 32; o <<= 1) {
      float top = __shfl_xor_sync(~0u, s[g].top, o), sum = __shfl_xor_sync(~0u, s[g].sum, o), best = fmaxf(s[g].top, top);
      float keep = fade(s[g].top, best), take = fade(top, best);
      s[g].top = best;
      // Both lanes of a pair come to the same bits.
      s[g].sum = __fadd_rn(__fmul_rn(s[g].sum, keep), __fmul_rn(sum, take));
#pragma unroll
      for (u32 i = 0; i < 8; i++) {
        float x = __shfl_xor_sync(~0u, s[g].value[i], o);
        s[g].value[i] = __fadd_rn(__fmul_rn(s[g].value[i], keep), __fmul_rn(x, take));
      }
    }
    u32 at = warp * G + g;
    if (lane == 0) {
      tops[at] = s[g].top;
      sums[at] = s[g].sum;
    }
    if (set == 0)
#pragma unroll
      for (u32 i = 0; i < 8; i++) joined_values[at * D + column + i] = s[g].value[i];
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < G * D; i += WARPS * 32) {
    u32 g = i / D, c = i % D, head = kv * G + g;
    float best = -INF, sum = 0.f, x = 0.f;
#pragma unroll
    for (u32 w = 0; w < WARPS; w++) best = fmaxf(best, tops[w * G + g]);
#pragma unroll
    for (u32 w = 0; w < WARPS; w++) {
      float f = fade(tops[w * G + g], best);
      sum += f * sums[w * G + g];
      x += f * joined_values[(w * G + g) * D + c];
    }
    if (!partial) store(out + (u64)row * ldo + head * D + c, n == 0 ? 0.f : x / sum);
    else {
      float* p = partial + (((u64)row * gridDim.x * G + head) * gridDim.z + blockIdx.z) * (D + 2);
      p[c] = x;
      if (c == 0) {
        p[D] = best;
        p[D + 1] = sum;
      }
    }
  }
}

// The parts of a cache joined in order. Block 128, grid (heads, sequences).
KERNEL __launch_bounds__(128) token_join(const float* partial, elem* out, u32 ldo, u32 parts) {
  GO();
  WAIT();
  const float* p = partial + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * parts * (D + 2);
  float best = -INF, sum = 0.f;
  for (u32 s = 0; s < parts; s++) best = fmaxf(best, p[s * (D + 2) + D]);
  for (u32 s = 0; s < parts; s++) sum += fade(p[s * (D + 2) + D], best) * p[s * (D + 2) + D + 1];
  for (u32 c = threadIdx.x; c < D; c += 128) {
    float x = 0.f;
    for (u32 s = 0; s < parts; s++) x += fade(p[s * (D + 2) + D], best) * p[s * (D + 2) + c];
    store(out + (u64)blockIdx.y * ldo + blockIdx.x * D + c, sum == 0.f ? 0.f : x / sum);
  }
}
