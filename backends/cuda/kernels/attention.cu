// Causal grouped-head attention within segments, for any head width, length and storage type. One warp a query and head (or key and
// kv head), 32 keys (queries) at a time, one a lane; sums in a fixed order. The tensor-core kernels cover the common shapes;
// this covers the rest and is what they are compared with.
// Tokens T = R·len; a token sees the keys of its own row of len tokens, not later than itself, of its own segment.
// Shared memory: `WARPS` warps a block, each its own rows of floats.
#ifndef WARPS
#define WARPS 4
#endif
DEV void stage(float* to, const elem* from, u32 d) {
  for (u32 c = threadIdx.x & 31; c < d; c += 32) to[c] = load(from + c);
  __syncwarp();
}
// The product of a staged row with a row of memory, whole in one lane.
DEV float product(const float* a, const elem* b, u32 d) {
  float s = 0.f;
  for (u32 c = 0; c < d; c += 8) {
    float x[8];
    u32 n = min(8u, d - c);
    get(x, b + c, n);
#pragma unroll
    for (u32 k = 0; k < 8; k++) if (k < n) s += a[c + k] * x[k];
  }
  return s;
}

// out [T, heads·d], lse f32 [T, heads]. grid (ceil(T·heads / WARPS)); shared WARPS·(2d + 32) floats.
KERNEL __launch_bounds__(WARPS * 32) attention_forward(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, elem* out, u32 ldo, float* lse,
                         u32 tokens, u32 len, u32 heads, u32 group, u32 d, float scale) {
  DYNAMIC_SHARED(float, shared);
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u64 item = (u64)blockIdx.x * WARPS + warp;
  if (item >= (u64)tokens * heads) return;
  u32 i = (u32)(item / heads), h = (u32)(item % heads), kv = h / group, mine = seg[i];
  float *query = shared + warp * (2 * d + 32), *sum = query + d, *p = sum + d;
  stage(query, q + (u64)i * ldq + h * d, d);
  for (u32 c = lane; c < d; c += 32) sum[c] = 0.f;
  float top = -INF, norm = 0.f;
  for (u32 base = i - i % len; base <= i; base += 32) {
    u32 j = base + lane;
    bool seen = j <= i && seg[j] == (int)mine;
    float s = seen ? product(query, k + (u64)j * ldk + kv * d, d) * scale : -INF;
    float next = fmaxf(top, warp_max(s));
    if (next == -INF) continue;
    float weight = seen ? expf(s - next) : 0.f, fade = expf(top - next);
    norm = norm * fade + warp_sum(weight);
    top = next;
    __syncwarp();
    p[lane] = weight;
    __syncwarp();
    u32 n = min(32u, i - base + 1);
    for (u32 c = lane; c < d; c += 32) {
      float a = sum[c] * fade;
      for (u32 t = 0; t < n; t++) if (p[t] != 0.f) a += p[t] * load(v + (u64)(base + t) * ldv + kv * d + c);
      sum[c] = a;
    }
  }
  for (u32 c = lane; c < d; c += 32) store(out + (u64)i * ldo + h * d + c, sum[c] / norm);
  if (lane == 0) lse[item] = top + logf(norm);
}

// dq, and delta f32 [T, heads] = sum of out·ct, which the other kernel reads. Shared WARPS·(3d + 32) floats.
KERNEL __launch_bounds__(WARPS * 32) attention_grad_queries(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, const elem* out, u32 ldo,
                              const float* lse, const elem* ct, u32 ldc, float* delta, elem* dq, u32 lddq,
                              u32 tokens, u32 len, u32 heads, u32 group, u32 d, float scale) {
  DYNAMIC_SHARED(float, shared);
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u64 item = (u64)blockIdx.x * WARPS + warp;
  if (item >= (u64)tokens * heads) return;
  u32 i = (u32)(item / heads), h = (u32)(item % heads), kv = h / group, mine = seg[i];
  float *query = shared + warp * (3 * d + 32), *grad = query + d, *sum = grad + d, *p = sum + d;
  stage(query, q + (u64)i * ldq + h * d, d);
  stage(grad, ct + (u64)i * ldc + h * d, d);
  float z = 0.f, l = lse[item];
  for (u32 c = lane; c < d; c += 32) {
    sum[c] = 0.f;
    z += grad[c] * load(out + (u64)i * ldo + h * d + c);
  }
  z = warp_sum(z);
  if (lane == 0) delta[item] = z;
  for (u32 base = i - i % len; base <= i; base += 32) {
    u32 j = base + lane;
    float ds = 0.f;
    if (j <= i && seg[j] == (int)mine) {
      float s = product(query, k + (u64)j * ldk + kv * d, d) * scale;
      ds = expf(s - l) * (product(grad, v + (u64)j * ldv + kv * d, d) - z) * scale;
    }
    __syncwarp();
    p[lane] = ds;
    __syncwarp();
    u32 n = min(32u, i - base + 1);
    for (u32 c = lane; c < d; c += 32) {
      float a = sum[c];
      for (u32 t = 0; t < n; t++) if (p[t] != 0.f) a += p[t] * load(k + (u64)(base + t) * ldk + kv * d + c);
      sum[c] = a;
    }
  }
  for (u32 c = lane; c < d; c += 32) store(dq + (u64)i * lddq + h * d + c, sum[c]);
}

// dk and dv: one warp a key and kv head; the queries of every head of its group in order. Shared WARPS·(4d + 64) floats.
KERNEL __launch_bounds__(WARPS * 32) attention_grad_keys(const elem* q, u32 ldq, const elem* k, u32 ldk, const elem* v, u32 ldv, const int* seg, const float* lse, const float* delta,
                           const elem* ct, u32 ldc, elem* dk, u32 lddk, elem* dv, u32 lddv,
                           u32 tokens, u32 len, u32 heads, u32 group, u32 d, float scale) {
  DYNAMIC_SHARED(float, shared);
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, kvHeads = heads / group;
  u64 item = (u64)blockIdx.x * WARPS + warp;
  if (item >= (u64)tokens * kvHeads) return;
  u32 j = (u32)(item / kvHeads), kv = (u32)(item % kvHeads), mine = seg[j], end = j - j % len + len;
  float *key = shared + warp * (4 * d + 64), *value = key + d, *sumk = value + d, *sumv = sumk + d, *p = sumv + d, *ds = p + 32;
  stage(key, k + (u64)j * ldk + kv * d, d);
  stage(value, v + (u64)j * ldv + kv * d, d);
  for (u32 c = lane; c < d; c += 32) sumk[c] = sumv[c] = 0.f;
  for (u32 h = kv * group; h < (kv + 1) * group; h++)
    for (u32 base = j; base < end; base += 32) {
      u32 i = base + lane;
      float weight = 0.f, slope = 0.f;
      if (i < end && seg[i] == (int)mine) {
        u64 at = (u64)i * heads + h;
        float s = product(key, q + (u64)i * ldq + h * d, d) * scale;
        weight = expf(s - lse[at]);
        slope = weight * (product(value, ct + (u64)i * ldc + h * d, d) - delta[at]) * scale;
      }
      __syncwarp();
      p[lane] = weight;
      ds[lane] = slope;
      __syncwarp();
      u32 n = min(32u, end - base);
      for (u32 c = lane; c < d; c += 32) {
        float a = sumk[c], b = sumv[c];
        for (u32 t = 0; t < n; t++)
          if (p[t] != 0.f) {
            a += ds[t] * load(q + (u64)(base + t) * ldq + h * d + c);
            b += p[t] * load(ct + (u64)(base + t) * ldc + h * d + c);
          }
        sumk[c] = a;
        sumv[c] = b;
      }
    }
  for (u32 c = lane; c < d; c += 32) {
    store(dk + (u64)j * lddk + kv * d + c, sumk[c]);
    store(dv + (u64)j * lddv + kv * d + c, sumv[c]);
  }
}

// A token at position p sees entries 0…p of its row's cache [B, capacity, kvHeads·d]. One block of WARPS warps a token and head: each
// warp takes every WARPS-th tile of 32 entries, then the warps' sums are joined in order. grid (T, heads); shared (WARPS·(d + 34) + d) floats.
KERNEL __launch_bounds__(WARPS * 32) cached_attention(const elem* q, u32 ldq, const elem* k, const elem* v, const int* positions, elem* out, u32 ldo,
                        u32 perRow, u32 capacity, u32 heads, u32 group, u32 d, float scale) {
  DYNAMIC_SHARED(float, shared);
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, i = blockIdx.x, h = blockIdx.y, kv = h / group, width = heads / group * d;
  float *query = shared, *sum = query + d + warp * (d + 34), *p = sum + d, *stats = p + 32;
  for (u32 c = threadIdx.x; c < d; c += WARPS * 32) query[c] = load(q + (u64)i * ldq + h * d + c);
  for (u32 c = lane; c < d; c += 32) sum[c] = 0.f;
  __syncthreads();
  int position = positions[i];
  u32 n = position < 0 ? 0 : min(capacity, (u32)position + 1);
  u64 first = (u64)(i / perRow) * capacity;
  float top = -INF, norm = 0.f;
  for (u32 base = warp * 32; base < n; base += WARPS * 32) {
    u32 j = base + lane;
    bool seen = j < n;
    float s = seen ? product(query, k + (first + j) * width + kv * d, d) * scale : -INF;
    float next = fmaxf(top, warp_max(s)), weight = seen ? expf(s - next) : 0.f, fade = expf(top - next);
    norm = norm * fade + warp_sum(weight);
    top = next;
    __syncwarp();
    p[lane] = weight;
    __syncwarp();
    u32 m = min(32u, n - base);
    for (u32 c = lane; c < d; c += 32) {
      float a = sum[c] * fade;
      for (u32 t = 0; t < m; t++) a += p[t] * load(v + (first + base + t) * width + kv * d + c);
      sum[c] = a;
    }
  }
  if (lane == 0) {
    stats[0] = top;
    stats[1] = norm;
  }
  __syncthreads();
  float best = -INF, all = 0.f, fade[WARPS];
#pragma unroll
  for (u32 w = 0; w < WARPS; w++) best = fmaxf(best, query[d + w * (d + 34) + d + 32]);
#pragma unroll
  for (u32 w = 0; w < WARPS; w++) {
    float t = query[d + w * (d + 34) + d + 32];
    fade[w] = t == -INF ? 0.f : expf(t - best);
    all += fade[w] * query[d + w * (d + 34) + d + 33];
  }
  for (u32 c = threadIdx.x; c < d; c += WARPS * 32) {
    float a = 0.f;
#pragma unroll
    for (u32 w = 0; w < WARPS; w++) a += fade[w] * query[d + w * (d + 34) + c];
    store(out + (u64)i * ldo + h * d + c, n == 0 ? 0.f : a / all);
  }
}

// Rows of x [B·perRow, width] into the cache at their positions; outside: dropped; of two tokens of a row at one position the later stays.
// grid (B·perRow), block 128.
KERNEL __launch_bounds__(128) cache_write(elem* cache, const elem* x, u32 ldx, const int* positions, u32 perRow, u32 capacity, u32 width) {
  u32 i = blockIdx.x, row = i / perRow;
  int at = positions[i];
  if (at < 0 || (u32)at >= capacity) return;
  int overwritten = 0;
  for (u32 later = i + 1 + threadIdx.x; later < (row + 1) * perRow; later += 128) overwritten |= positions[later] == at;
  if (__syncthreads_or(overwritten)) return;
  elem* to = cache + ((u64)row * capacity + at) * width;
  for (u32 c = threadIdx.x * 8; c < width; c += 128 * 8) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, x + (u64)i * ldx + c, n);
    put(to + c, v, n);
  }
}
