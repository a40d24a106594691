// Low-rank products of adapters: tall matrices times a handful of columns. A and B are f32 masters, rounded to the storage type as the program's cast does.
// Each block takes ROWS rows; its threads split the inner dimension by octets, and 8 ranks are summed at a time.
#define ROWS 8
#define RANKS 8

// Element (rank j, inner column c) of the small matrix: A is [rank, inner], B is [inner, rank].
DEV void small8(float (&x)[8], const float* m, u32 j, u32 c, u32 n, u32 inner, u32 rank, bool by_rows) {
  if (by_rows) {
    get(x, m + (u64)j * inner + c, n);
  } else {
#pragma unroll
    for (u32 k = 0; k < 8; k++) x[k] = k < n ? m[(u64)(c + k) * rank + j] : 0.f;
  }
  elem* as = 0;
#pragma unroll
  for (u32 k = 0; k < 8; k++) x[k] = rounded(x[k], as);
}

// out[row, j] = by * sum over c of x[row, c] * small(j, c); also at `beside` (a product reads it there), with `clear` zero columns behind.
KERNEL __launch_bounds__(256) low_rank(const elem* x, u32 ldx, const float* small, u32 by_rows, elem* out, u32 ldo, elem* beside, u32 ldb, u32 clear, u32 rows, u32 inner, u32 rank, float by) {
  __shared__ float part[8][ROWS * RANKS];
  u32 t = threadIdx.x, lane = t & 31, warp = t >> 5, first = blockIdx.x * ROWS;
  for (u32 j0 = 0; j0 < rank; j0 += RANKS) {
    float sum[ROWS][RANKS] = {};
    for (u32 c = t * 8; c < inner; c += 2048) {
      u32 n = min(8u, inner - c);
      float v[ROWS][8];
#pragma unroll
      for (u32 r = 0; r < ROWS; r++) get(v[r], x + (u64)min(first + r, rows - 1) * ldx + c, n);
#pragma unroll
      for (u32 j = 0; j < RANKS; j++) {
        if (j0 + j >= rank) break;
        float a[8];
        small8(a, small, j0 + j, c, n, inner, rank, by_rows);
#pragma unroll
        for (u32 r = 0; r < ROWS; r++)
#pragma unroll
          for (u32 k = 0; k < 8; k++) sum[r][j] = fmaf(v[r][k], a[k], sum[r][j]);
      }
    }
#pragma unroll
    for (u32 r = 0; r < ROWS; r++)
#pragma unroll
      for (u32 j = 0; j < RANKS; j++) {
        float s = warp_sum(sum[r][j]);
        if (lane == 0) part[warp][r * RANKS + j] = s;
      }
    __syncthreads();
    if (t < ROWS * RANKS) {
      u32 row = first + t / RANKS, j = j0 + t % RANKS;
      float s = 0.f;
#pragma unroll
      for (u32 w = 0; w < 8; w++) s += part[w][t];
      if (row < rows && j < rank) {
        // Rounded before it is scaled, as two equations are.
        s = rounded(s, out) * by;
        store(out + (u64)row * ldo + j, s);
        if (beside) store(beside + (u64)row * ldb + j, s);
      }
    }
    __syncthreads();
  }
  if (beside)
    for (u32 i = t; i < ROWS * clear; i += 256) {
      u32 row = first + i / clear;
      if (row < rows) store(beside + (u64)row * ldb + rank + i % clear, 0.f);
    }
}

// out[row, c] = b[row, c - column] where that is a column of b, else 0; b is f32 [rows, width] or absent. Up to four jobs, one each grid.y.
#define PLACE_JOB(n) const float *b##n, u32 width##n, elem *out##n, u32 ldo##n, u32 rows##n, u32 columns##n, u32 column##n
#define PICK(name) (job == 0 ? name##0 : job == 1 ? name##1 : job == 2 ? name##2 : name##3)
KERNEL __launch_bounds__(256) place_rows(PLACE_JOB(0), PLACE_JOB(1), PLACE_JOB(2), PLACE_JOB(3)) {
  u32 job = blockIdx.y, width = PICK(width), ldo = PICK(ldo), rows = PICK(rows), columns = PICK(columns), column = PICK(column);
  const float* b = PICK(b);
  elem* out = PICK(out);
  u32 per = (columns + 7) >> 3;
  u64 total = (u64)rows * per;
  for (u64 i = (u64)blockIdx.x * 256 + threadIdx.x; i < total; i += (u64)gridDim.x * 256) {
    u64 row = i / per;
    u32 c = (u32)(i - row * per) * 8, n = min(8u, columns - c);
    float v[8];
    if (b && column == 0 && c + 8 <= width) get(v, b + row * width + c, n);
    else
#pragma unroll
      for (u32 k = 0; k < 8; k++) {
        u32 at = c + k;
        v[k] = b && at >= column && at < column + width ? b[row * width + (at - column)] : 0.f;
      }
    put(out + row * ldo + c, v, n);
  }
}

// out += mask * (v * A): A is f32 [rank, width]. The sum over ranks is rounded, masked, and added, as the program's equations do.
KERNEL __launch_bounds__(256) add_low_rank(const elem* v, u32 ldv, const float* a, elem* out, u32 ldo, u32 rows, u32 width, u32 rank, const int* seed, const int* keys, u32 salt, u32 threshold, float keep) {
  u32 c = (blockIdx.x * 256 + threadIdx.x) * 8, first = blockIdx.y * ROWS;
  if (c >= width) return;
  u32 n = min(8u, width - c);
  float sum[ROWS][8] = {};
  for (u32 j = 0; j < rank; j++) {
    float g[8];
    small8(g, a, j, c, n, width, rank, true);
#pragma unroll
    for (u32 r = 0; r < ROWS; r++) {
      float s = load(v + (u64)min(first + r, rows - 1) * ldv + j);
#pragma unroll
      for (u32 k = 0; k < 8; k++) sum[r][k] = fmaf(s, g[k], sum[r][k]);
    }
  }
  u32 state = (u32)*seed;
#pragma unroll
  for (u32 r = 0; r < ROWS; r++) {
    u32 row = first + r;
    if (row >= rows) return;
    float old[8];
    get(old, out + (u64)row * ldo + c, n);
#pragma unroll
    for (u32 k = 0; k < 8; k++) {
      float x = rounded(sum[r][k], out);
      old[k] += hash32(state, salt, c + k, (u32)keys[row]) >= threshold ? rounded(x / keep, out) : 0.f;
    }
    put(out + (u64)row * ldo + c, old, n);
  }
}

// The length of each row of W + by * B A. One row a block: A comes from the cache for all but the first.
KERNEL __launch_bounds__(256) adapted_norms(const elem* w, u32 ldw, const elem* a, const elem* b, elem* out, u32 inner, u32 rank, float by) {
  u32 row = blockIdx.x;
  float squares = 0.f;
  for (u32 c = threadIdx.x; c < inner; c += blockDim.x) {
    float low = 0.f;
    for (u32 k = 0; k < rank; k++) low = fmaf(load(b + (u64)row * rank + k), load(a + (u64)k * inner + c), low);
    float x = fmaf(by, low, load(w + (u64)row * ldw + c));
    squares = fmaf(x, x, squares);
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) store(out + row, sqrtf(squares));
}
