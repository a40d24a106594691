// Cross-entropy over few classes, one block a row. Targets weigh classes; `first` classes (0 or 1) have the logit 0 and none of their own.
DEV float row_lse(const float* x, u32 width, u32 first) {
  float top = first ? 0.f : -INF, sum = 0.f;
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) top = fmaxf(top, x[c]);
  top = block_max(top);
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) sum += expf(x[c] - top);
  sum = block_sum(sum);
  return top + logf(first ? sum + expf(-top) : sum);
}
KERNEL __launch_bounds__(128) class_cross_entropy(const float* logits, u32 ldl, const float* targets, u32 ldt, float* out, u32 width, u32 first) {
  const float* x = logits + (u64)blockIdx.x * ldl;
  const float* t = targets + (u64)blockIdx.x * ldt;
  float lse = row_lse(x, width, first), sum = 0.f;
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) sum += t[first + c] * (lse - x[c]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = first ? sum + t[0] * lse : sum;
}
KERNEL __launch_bounds__(128) class_cross_entropy_grad(const float* logits, u32 ldl, const float* targets, u32 ldt, const float* ct, float* out, u32 ldo, u32 width, u32 first) {
  const float* x = logits + (u64)blockIdx.x * ldl;
  const float* t = targets + (u64)blockIdx.x * ldt;
  float lse = row_lse(x, width, first), all = 0.f, scale = ct[blockIdx.x];
  for (u32 c = threadIdx.x; c < width + first; c += blockDim.x) all += t[c];
  all = block_sum(all);
  float* y = out + (u64)blockIdx.x * ldo;
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) y[c] = scale * (expf(x[c] - lse) * all - t[first + c]);
}
