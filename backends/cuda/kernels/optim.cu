// The update, over one flat range: all adapters lie side by side, so all of them are one launch. Rate, step and multipliers come from device
// memory, so that a captured graph needs no change. Each thread reads its elements before it writes them; results may lie over operands.

// 1 − β^step as −expm1(step·ln β): exact where f32 powers near one would cancel. `decoupled` 0: decay is part of the gradient.
// `copy` (may be null): the parameters again in the type that products read.
KERNEL __launch_bounds__(256) adamw(const float* p, const float* g, const float* m, const float* v, float* nextP, float* nextM, float* nextV, other* copy, const float* multiplier,
             const float* rate, const float* step, float beta1, float rest1, float log1, float beta2, float rest2, float log2, float eps, float decay,
             u32 decoupled, u32 n) {
  Octet o = octet(1, n);
  if (o.count == 0) return;
  float lr = *rate, t = *step, by = multiplier ? *multiplier : 1.f;
  float c1 = -expm1f(t * log1), c2 = sqrtf(-expm1f(t * log2)), keep = decoupled ? 1.f - lr * decay : 1.f;
  float P[8], G[8], M[8], V[8];
  get(P, p + o.column, o.count);
  get(G, g + o.column, o.count);
  get(M, m + o.column, o.count);
  get(V, v + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    float x = G[k] * by;
    if (!decoupled) x += decay * P[k];
    M[k] = beta1 * M[k] + rest1 * x;
    V[k] = beta2 * V[k] + rest2 * x * x;
    P[k] = P[k] * keep - (lr / c1 * M[k]) / (sqrtf(V[k]) / c2 + eps);
  }
  put(nextP + o.column, P, o.count);
  put(nextM + o.column, M, o.count);
  put(nextV + o.column, V, o.count);
  if (copy) put(copy + o.column, P, o.count);
}
// min(1, max / (norm + 1e-6))
KERNEL __launch_bounds__(256) clip_coefficient(const float* squares, float* out, float max) { *out = fminf(1.f, max / (sqrtf(*squares) + 1e-6f)); }
KERNEL __launch_bounds__(256) loss_scale(const float* scale, const float* streak, const u8* finite, float* nextScale, float* nextStreak) {
  float s = *scale, n = *streak + 1.f;
  bool grow = n == 2000.f;
  *nextScale = !*finite ? s / 2.f : grow ? s * 2.f : s;
  *nextStreak = !*finite || grow ? 0.f : n;
}
