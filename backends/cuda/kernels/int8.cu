// 8-bit integers with a scale a row decoded (ir/int8.ts is the definition, and these are its bits): a block a stretch of a row, 8 codes a thread.
KERNEL __launch_bounds__(256) int8_decode(const signed char* codes, const float* scales, other* out, u32 ld, u32 width) {
  u64 row = blockIdx.x;
  u32 first = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
  if (first >= width) return;
  const signed char* from = codes + row * width + first;
  float scale = scales[row];
#pragma unroll
  for (u32 k = 0; k < 8; k++) if (first + k < width) store(out + row * ld + first + k, int8_value(from[k], scale));
}
