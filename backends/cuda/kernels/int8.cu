// 8-bit integers with a scale a row (ir/int8.ts is the definition, and these are its bits). Decoding: a block a stretch of a row, 8 codes a thread.
KERNEL __launch_bounds__(256) int8_decode(const signed char* codes, const float* scales, other* out, u32 ld, u32 width) {
  u64 row = blockIdx.x;
  u32 first = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
  if (first >= width) return;
  const signed char* from = codes + row * width + first;
  float scale = scales[row];
#pragma unroll
  for (u32 k = 0; k < 8; k++) if (first + k < width) store(out + row * ld + first + k, int8_value(from[k], scale));
}

// Encoding: a block a row.
KERNEL __launch_bounds__(256) int8_encode(const elem* x, signed char* codes, float* scales, u32 width) {
  u64 row = blockIdx.x;
  const elem* from = x + row * width;
  float most = 0.f;
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) most = fmaxf(most, fabsf(as_half(load(from + c))));
  most = block_max(most);
  float factor = int8_factor(most);
  for (u32 c = threadIdx.x; c < width; c += blockDim.x) codes[row * width + c] = (signed char)rintf(__fmul_rn(as_half(load(from + c)), factor));
  if (threadIdx.x == 0) scales[row] = most;
}
