// Cross-entropy over rows of logits that a product has written (`elem`), one block of 1,024 threads a row.
// CE_N pieces of 8 logits a thread stay in registers (width ≤ 8,192·CE_N), so they are read once; 0: any width, read again.
#ifndef CE_N
#define CE_N 0
#endif
#define IGNORED -100
// log Σ exp of running (maximum, sum) pairs over a block, in a fixed order.
DEV float block_lse(float top, float sum) {
  float best = block_max(top);
  sum = block_sum(top == -INF ? 0.f : sum * exponential(top - best));
  return best + logf(sum);
}
DEV void absorb(float& top, float& sum, const float (&x)[8], u32 n) {
  float best = top;
#pragma unroll
  for (u32 k = 0; k < 8; k++) if (k < n) best = fmaxf(best, x[k]);
  if (best == -INF) return;
  sum *= exponential(top - best);
#pragma unroll
  for (u32 k = 0; k < 8; k++) if (k < n) sum += exponential(x[k] - best);
  top = best;
}
// (softmax − onehot) · ct
DEV void slopes(float (&x)[8], u32 column, u32 target, float lse, float ct) {
#pragma unroll
  for (u32 k = 0; k < 8; k++) x[k] = (exponential(x[k] - lse) - (column + k == target ? 1.f : 0.f)) * ct;
}
// nll and lse of each row and, where `grad` is given, the gradient of the logits (may lie over them when the types agree).
// ct: one f32 a row (ctStep 1) or one for all (ctStep 0).
KERNEL __launch_bounds__(1024) cross_entropy(const elem* logits, u32 ldl, const int* targets, float* nll, float* lse, const float* ct, u32 ctStep, other* grad, u32 ldg, u32 width) {
  u64 row = blockIdx.x;
  const elem* x = logits + row * ldl;
  other* g = grad + row * ldg;
  int target = targets[row];
  if (target == IGNORED) {
    float zero[8] = {};
    if (grad) for (u32 c = threadIdx.x * 8; c < width; c += 8192) put(g + c, zero, min(8u, width - c));
    if (threadIdx.x == 0) nll[row] = lse[row] = 0.f;
    return;
  }
  // Read before anything is written over it.
  float wanted = load(x + target), top = -INF, sum = 0.f;
#if CE_N > 0
  float kept[CE_N][8];
#pragma unroll
  for (u32 k = 0; k < CE_N; k++) {
    u32 c = (k * 1024 + threadIdx.x) * 8;
    if (c < width) get(kept[k], x + c, min(8u, width - c));
  }
#pragma unroll
  for (u32 k = 0; k < CE_N; k++) {
    u32 c = (k * 1024 + threadIdx.x) * 8;
    if (c < width) absorb(top, sum, kept[k], min(8u, width - c));
  }
#else
  for (u32 c = threadIdx.x * 8; c < width; c += 8192) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, x + c, n);
    absorb(top, sum, v, n);
  }
#endif
  float l = block_lse(top, sum);
  if (threadIdx.x == 0) {
    nll[row] = l - wanted;
    lse[row] = l;
  }
  if (!grad) return;
  float by = ct[row * ctStep];
#if CE_N > 0
#pragma unroll
  for (u32 k = 0; k < CE_N; k++) {
    u32 c = (k * 1024 + threadIdx.x) * 8;
    if (c < width) {
      slopes(kept[k], c, (u32)target, l, by);
      put(g + c, kept[k], min(8u, width - c));
    }
  }
#else
  for (u32 c = threadIdx.x * 8; c < width; c += 8192) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, x + c, n);
    slopes(v, c, (u32)target, l, by);
    put(g + c, v, n);
  }
#endif
}
// The gradient alone, from a log-sum-exp known before.
KERNEL __launch_bounds__(1024) cross_entropy_grad(const elem* logits, u32 ldl, const int* targets, const float* lse, const float* ct, u32 ctStep, other* grad, u32 ldg, u32 width) {
  u64 row = blockIdx.x;
  int target = targets[row];
  float l = lse[row], by = target == IGNORED ? 0.f : ct[row * ctStep];
  for (u32 c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, logits + row * ldl + c, n);
    slopes(v, c, (u32)target, l, by);
    if (target == IGNORED)
#pragma unroll
      for (int k = 0; k < 8; k++) v[k] = 0.f;
    put(grad + row * ldg + c, v, n);
  }
}
// The index of the largest logit of each row, the lower one on a tie; -1 where a logit is NaN or the largest is not finite.
KERNEL __launch_bounds__(1024) argmax_rows(const elem* logits, u32 ldl, int* out, u32 width) {
  __shared__ float tops[32];
  __shared__ u32 places[32];
  GO();
  u64 row = blockIdx.x;
  float top = -INF;
  u32 place = threadIdx.x * 8 < width ? threadIdx.x * 8 : 0xffffffffu;
  WAIT();
  for (u32 c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
    float v[8];
    u32 n = min(8u, width - c);
    get(v, logits + row * ldl + c, n);
#pragma unroll
    for (u32 k = 0; k < 8; k++) {
      // A NaN counts as infinite: either way there is no answer.
      float x = v[k] == v[k] ? v[k] : INF;
      if (k < n && x > top) { top = x; place = c + k; }
    }
  }
  for (u32 round = 0; round < 2; round++) {
    for (int o = 16; o; o >>= 1) {
      float t = __shfl_xor_sync(~0u, top, o);
      u32 p = __shfl_xor_sync(~0u, place, o);
      if (t > top || (t == top && p < place)) { top = t; place = p; }
    }
    if (round) break;
    u32 warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    if (lane == 0) { tops[threadIdx.x >> 5] = top; places[threadIdx.x >> 5] = place; }
    __syncthreads();
    top = lane < warps ? tops[lane] : -INF;
    place = lane < warps ? places[lane] : 0xffffffffu;
  }
  if (threadIdx.x == 0) out[row] = top > -INF && top < INF ? (int)place : -1;
}
