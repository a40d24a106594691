// Element-wise operations over matrices [rows, width], each operand with its own row stride in elements. 8 elements a thread.
// Every thread reads its elements before it writes them, so a result may lie over an operand.
template <class F> DEV void unary(const elem* a, u32 lda, elem* out, u32 ldo, u32 rows, u32 width, F f) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8];
  get(x, a + o.row * lda + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) x[k] = f(x[k]);
  put(out + o.row * ldo + o.column, x, o.count);
}
template <class F> DEV void binary(const elem* a, u32 lda, const elem* b, u32 ldb, elem* out, u32 ldo, u32 rows, u32 width, F f) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8], y[8];
  get(x, a + o.row * lda + o.column, o.count);
  get(y, b + o.row * ldb + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) x[k] = f(x[k], y[k]);
  put(out + o.row * ldo + o.column, x, o.count);
}
#define UNARY_ARGS const elem *a, u32 lda, elem *out, u32 ldo, u32 rows, u32 width
#define BINARY_ARGS const elem *a, u32 lda, const elem *b, u32 ldb, elem *out, u32 ldo, u32 rows, u32 width

KERNEL __launch_bounds__(256) add_rows(BINARY_ARGS) {
  binary(a, lda, b, ldb, out, ldo, rows, width, [](float x, float y) { return x + y; });
}
KERNEL __launch_bounds__(256) sub_rows(BINARY_ARGS) {
  binary(a, lda, b, ldb, out, ldo, rows, width, [](float x, float y) { return x - y; });
}
KERNEL __launch_bounds__(256) mul_rows(BINARY_ARGS) {
  binary(a, lda, b, ldb, out, ldo, rows, width, [](float x, float y) { return x * y; });
}
// A vector added to every row: its row stride is 0.
KERNEL __launch_bounds__(256) add_row(const elem* a, u32 lda, const elem* b, elem* out, u32 ldo, u32 rows, u32 width) {
  binary(a, lda, b, 0, out, ldo, rows, width, [](float x, float y) { return x + y; });
}
KERNEL __launch_bounds__(256) mul_row(const elem* a, u32 lda, const elem* b, elem* out, u32 ldo, u32 rows, u32 width) {
  binary(a, lda, b, 0, out, ldo, rows, width, [](float x, float y) { return x * y; });
}
KERNEL __launch_bounds__(256) scale_rows(UNARY_ARGS, float by) {
  unary(a, lda, out, ldo, rows, width, [=](float x) { return by * x; });
}
KERNEL __launch_bounds__(256) scale_by_rows(UNARY_ARGS, const float* by) {
  float s = *by;
  unary(a, lda, out, ldo, rows, width, [=](float x) { return s * x; });
}
KERNEL __launch_bounds__(256) reciprocal_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return 1.f / x; });
}
KERNEL __launch_bounds__(256) sqrt_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return sqrtf(x); });
}
KERNEL __launch_bounds__(256) sign_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return x > 0.f ? 1.f : x < 0.f ? -1.f : x; });
}
KERNEL __launch_bounds__(256) maximum_rows(BINARY_ARGS) {
  binary(a, lda, b, ldb, out, ldo, rows, width, [](float x, float y) { return fmaxf(x, y); });
}
KERNEL __launch_bounds__(256) shift_rows(UNARY_ARGS, float by) {
  unary(a, lda, out, ldo, rows, width, [=](float x) { return x + by; });
}
KERNEL __launch_bounds__(256) power_rows(UNARY_ARGS, float exponent) {
  unary(a, lda, out, ldo, rows, width, [=](float x) { return powf(x, exponent); });
}
// Logarithms of probabilities: always f32 in a program, and few.
KERNEL __launch_bounds__(256) sigmoid_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return 1.f / (1.f + expf(-x)); });
}
KERNEL __launch_bounds__(256) softplus_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); });
}
KERNEL __launch_bounds__(256) log_odds_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return -x - logf(-expm1f(-x)); });
}
KERNEL __launch_bounds__(256) positive_rows(UNARY_ARGS) {
  unary(a, lda, out, ldo, rows, width, [](float x) { return x > 0.f ? 1.f : 0.f; });
}
// The element of a vector at each id, 0 where there is none.
KERNEL __launch_bounds__(256) take_or_zero(const float* a, u32 count, const int* ids, float* out, u32 n) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = (u32)ids[i] < count ? a[ids[i]] : 0.f;
}
KERNEL __launch_bounds__(256) spread_rows(const elem* value, elem* out, u32 ldo, u32 rows, u32 width) {
  Octet o = octet(rows, width);
  float v = load(value);
  float x[8] = {v, v, v, v, v, v, v, v};
  if (o.count) put(out + o.row * ldo + o.column, x, o.count);
}

// Rows of a table by index: embedding and takeRows.
KERNEL __launch_bounds__(256) gather_rows(const elem* table, u32 ldt, const int* index, elem* out, u32 ldo, u32 rows, u32 width) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8];
  get(x, table + (u64)index[o.row] * ldt + o.column, o.count);
  put(out + o.row * ldo + o.column, x, o.count);
}

KERNEL __launch_bounds__(256) swiglu_rows(const elem* gate, u32 ldg, const elem* up, u32 ldu, elem* out, u32 ldo, u32 rows, u32 width) {
  binary(gate, ldg, up, ldu, out, ldo, rows, width, [](float g, float u) { return g * sigmoid(g) * u; });
}
KERNEL __launch_bounds__(256) swiglu_grad_rows(const elem* gate, u32 ldg, const elem* up, u32 ldu, const elem* ct, u32 ldc, elem* dgate, u32 lddg, elem* dup, u32 lddu, u32 rows, u32 width) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float g[8], u[8], d[8];
  get(g, gate + o.row * ldg + o.column, o.count);
  get(u, up + o.row * ldu + o.column, o.count);
  get(d, ct + o.row * ldc + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    float s = sigmoid(g[k]), x = g[k];
    g[k] = d[k] * u[k] * s * (1.f + x * (1.f - s));
    u[k] = d[k] * x * s;
  }
  put(dgate + o.row * lddg + o.column, g, o.count);
  put(dup + o.row * lddu + o.column, u, o.count);
}

// The mask hashes the column and the key of the row, so it depends neither on packing nor on strides. keep = 1 - rate.
KERNEL __launch_bounds__(256) dropout_rows(UNARY_ARGS, const int* seed, const int* keys, u32 salt, u32 threshold, float keep) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8];
  u32 s = (u32)*seed, key = (u32)keys[o.row];
  get(x, a + o.row * lda + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) x[k] = hash32(s, salt, o.column + k, key) >= threshold ? x[k] / keep : 0.f;
  put(out + o.row * ldo + o.column, x, o.count);
}
// u of [-1, 1) from the hash's upper 24 bits, which f32 holds exactly.
KERNEL __launch_bounds__(256) noise_rows(UNARY_ARGS, const int* seed, const int* keys, const float* reach, u32 salt) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8], by = reach[o.row];
  u32 s = (u32)*seed, key = (u32)keys[o.row];
  get(x, a + o.row * lda + o.column, o.count);
#pragma unroll
  for (int k = 0; k < 8; k++) x[k] += by * ((float)(hash32(s, salt, o.column + k, key) >> 8) / 8388608.f - 1.f);
  put(out + o.row * ldo + o.column, x, o.count);
}
