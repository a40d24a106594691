// Low-rank products of adapters on tensor cores (16-bit types, sm_80 and later). A launch does up to four jobs, one each grid.y.
// RANK_TILES: ranks in tiles of 8, up to 8. WARPS: warps of a block of low_rank_mma.
#ifndef WARPS
#define WARPS 16
#endif
#define LOW_JOB(n) const elem *x##n, u32 ldx##n, u32 inner##n, const elem *small##n, elem *out##n, u32 ldo##n, elem *beside##n, u32 ldb##n, u32 clear##n
#define PICK(name) (job == 0 ? name##0 : job == 1 ? name##1 : job == 2 ? name##2 : name##3)

// out[row, j] = by * sum over c of x[row, c] * small(j, c), small by rows [rank, inner] or not [inner, rank]; also at `beside`, `clear` zero columns behind.
// 16 rows a block; its warps split the inner dimension in pieces of 32: many, for there are few blocks and it is memory that is waited for. A lane reads 16 bytes of a row; that permutes the inner
// index the same way for both operands, which a sum does not notice. inner % 32 == 0, x rows aligned to 16 bytes.
KERNEL __launch_bounds__(32 * WARPS) low_rank_mma(LOW_JOB(0), LOW_JOB(1), LOW_JOB(2), LOW_JOB(3), u32 by_rows, u32 rows, u32 rank, float by) {
  __shared__ float part[WARPS][16][RANK_TILES * 8];
  u32 job = blockIdx.y, t = threadIdx.x, lane = t & 31, warp = t >> 5, g = lane >> 2, q = lane & 3, first = blockIdx.x * 16;
  const elem* x = PICK(x);
  const elem* small = PICK(small);
  u32 ldx = PICK(ldx), inner = PICK(inner);
  const elem* r0 = x + (u64)min(first + g, rows - 1) * ldx;
  const elem* r1 = x + (u64)min(first + g + 8, rows - 1) * ldx;
  float c[RANK_TILES][4] = {};
#pragma unroll 4
  for (u32 k = warp * 32; k < inner; k += 32 * WARPS) {
    u32 at = k + q * 8;
    uint4 a = *(const uint4*)(r0 + at), b = *(const uint4*)(r1 + at);
    u32 lo[4] = {a.x, b.x, a.y, b.y}, hi[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
    for (u32 n = 0; n < RANK_TILES; n++) {
      u32 j = n * 8 + g;
      uint4 s = make_uint4(0, 0, 0, 0);
      if (j < rank) {
        if (by_rows) s = __ldg((const uint4*)(small + (u64)j * inner + at));
        else {
          const u16* p = (const u16*)small + (u64)at * rank + j;
          s.x = (u32)__ldg(p) | ((u32)__ldg(p + rank) << 16);
          s.y = (u32)__ldg(p + 2 * rank) | ((u32)__ldg(p + 3 * rank) << 16);
          s.z = (u32)__ldg(p + 4 * rank) | ((u32)__ldg(p + 5 * rank) << 16);
          s.w = (u32)__ldg(p + 6 * rank) | ((u32)__ldg(p + 7 * rank) << 16);
        }
      }
      mma(c[n], lo, &s.x, x);
      mma(c[n], hi, &s.z, x);
    }
  }
#pragma unroll
  for (u32 n = 0; n < RANK_TILES; n++) {
    part[warp][g][n * 8 + q * 2] = c[n][0];
    part[warp][g][n * 8 + q * 2 + 1] = c[n][1];
    part[warp][g + 8][n * 8 + q * 2] = c[n][2];
    part[warp][g + 8][n * 8 + q * 2 + 1] = c[n][3];
  }
  __syncthreads();
  elem* out = PICK(out);
  elem* beside = PICK(beside);
  u32 ldo = PICK(ldo), ldb = PICK(ldb), clear = PICK(clear), wide = beside ? rank + clear : rank;
  for (u32 i = t; i < 16 * wide; i += 32 * WARPS) {
    u32 r = i / wide, j = i - r * wide, row = first + r;
    if (row >= rows) continue;
    float s = 0.f;
    if (j < rank) {
#pragma unroll
      for (u32 w = 0; w < WARPS; w++) s += part[w][r][j];
      // Rounded before it is scaled, as two equations are.
      s = rounded(s, out) * by;
      store(out + (u64)row * ldo + j, s);
    }
    if (beside) store(beside + (u64)row * ldb + j, s);
  }
}

// grad[n, r] (or [r, n] where the ranks come first) += sum over rows t of wide[t, n] * thin[t, r]: COLUMNS columns a block, 8 warps split
// each 128 rows, a pipeline of 4 stages; no sum crosses blocks. Rows of both operands are aligned to 16 bytes, `columns` % COLUMNS == 0.
#define STAGES 4
#define STEP 128
#ifndef COLUMNS
#define COLUMNS 64
#endif
#define CHUNKS (COLUMNS / 8)
#define GRAD_JOB(n) const elem *wide##n, u32 ldw##n, u32 columns##n, const elem *thin##n, u32 ldt##n, float *grad##n
KERNEL __launch_bounds__(256) low_rank_grad(GRAD_JOB(0), GRAD_JOB(1), GRAD_JOB(2), GRAD_JOB(3), u32 rows, u32 rank, u32 ranks_first) {
  DYNAMIC_SHARED(u8, memory);
  u32 job = blockIdx.y, t = threadIdx.x, lane = t & 31, warp = t >> 5, column = blockIdx.x * COLUMNS;
  const elem* wide = PICK(wide);
  const elem* thin = PICK(thin);
  u32 ldw = PICK(ldw), ldt = PICK(ldt), columns = PICK(columns);
  if (column >= columns) return;
  const u32 WIDE = STEP * COLUMNS * 2, THIN = STEP * RANK_TILES * 16;
  u32 base = shared_address(memory), thins = base + STAGES * WIDE;
  float c[COLUMNS / 16][RANK_TILES][4] = {};
  auto load = [&](u32 step) {
    u32 row0 = step * STEP, s = step % STAGES;
    if (row0 < rows) {
      for (u32 i = t; i < STEP * CHUNKS; i += 256) {
        u32 r = i / CHUNKS, k = i % CHUNKS;
        bool ok = row0 + r < rows;
        copy16(base + s * WIDE + (r * CHUNKS + (k ^ (r & (CHUNKS - 1)))) * 16, wide + (u64)(ok ? row0 + r : 0) * ldw + column + k * 8, ok);
      }
      for (u32 i = t; i < STEP * RANK_TILES; i += 256) {
        u32 r = i / RANK_TILES, k = i % RANK_TILES;
        bool ok = row0 + r < rows;
        copy16(thins + s * THIN + i * 16, thin + (u64)(ok ? row0 + r : 0) * ldt + k * 8, ok);
      }
    }
    copies_commit();
  };
  for (u32 i = 0; i < STAGES - 1; i++) load(i);
  for (u32 step = 0; step * STEP < rows; step++) {
    copies_wait<STAGES - 2>();
    __syncthreads();
    load(step + STAGES - 1);
    u32 s = step % STAGES, bw = base + s * WIDE, bt = thins + s * THIN;
    u32 k = warp * 16 + ((lane >> 4) << 3) + (lane & 7), kt = warp * 16 + (lane & 15), b[RANK_TILES][2];
#pragma unroll
    for (u32 n = 0; n < RANK_TILES; n++) {
      // Lanes 16 to 31 name the same rows again: only two of the four matrices are wanted.
      u32 four[4];
      load_matrices_transposed(four, bt + (kt * RANK_TILES + n) * 16);
      b[n][0] = four[0];
      b[n][1] = four[1];
    }
#pragma unroll
    for (u32 m = 0; m < COLUMNS / 16; m++) {
      u32 a[4], chunk = m * 2 + ((lane >> 3) & 1);
      load_matrices_transposed(a, bw + (k * CHUNKS + (chunk ^ (k & (CHUNKS - 1)))) * 16);
#pragma unroll
      for (u32 n = 0; n < RANK_TILES; n++) mma(c[m][n], a, b[n], wide);
    }
  }
  copies_wait<0>();
  __syncthreads();
  float* part = (float*)memory;
  const u32 W = COLUMNS * RANK_TILES * 8;
  u32 g = lane >> 2, q = lane & 3;
#pragma unroll
  for (u32 m = 0; m < COLUMNS / 16; m++)
#pragma unroll
    for (u32 n = 0; n < RANK_TILES; n++) {
      float* p = part + warp * W + (m * 16 + g) * (RANK_TILES * 8) + n * 8 + q * 2;
      p[0] = c[m][n][0];
      p[1] = c[m][n][1];
      p[8 * RANK_TILES * 8] = c[m][n][2];
      p[8 * RANK_TILES * 8 + 1] = c[m][n][3];
    }
  __syncthreads();
  float* grad = PICK(grad);
  for (u32 i = t; i < COLUMNS * rank; i += 256) {
    u32 n = ranks_first ? i % COLUMNS : i / rank, r = ranks_first ? i / COLUMNS : i - n * rank;
    float z = 0.f;
#pragma unroll
    for (u32 w = 0; w < 8; w++) z += part[w * W + n * RANK_TILES * 8 + r];
    float* to = grad + (ranks_first ? (u64)r * columns + column + n : (u64)(column + n) * rank + r);
    *to += z;
  }
}
