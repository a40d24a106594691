// What does not look at values: any storage type, as bytes. Widths and strides in bytes; 16 bytes a thread.
struct Piece { u64 row; u32 column, count; };
DEV Piece piece(u32 rows, u32 width) {
  u32 per = (width + 15) >> 4;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  Piece p;
  p.row = rows == 1 ? (u64)(i >= per) : i / per;
  p.column = (u32)(i - (rows == 1 ? 0 : p.row * per)) * 16;
  p.count = p.row < rows ? min(16u, width - p.column) : 0;
  return p;
}
KERNEL __launch_bounds__(256) select_bytes(const u8* condition, const u8* a, u32 lda, const u8* b, u32 ldb, u8* out, u32 ldo, u32 rows, u32 width) {
  Piece p = piece(rows, width);
  if (p.count == 0) return;
  const u8* from = *condition ? a + p.row * lda + p.column : b + p.row * ldb + p.column;
  u8* to = out + p.row * ldo + p.column;
  if (from == to) return;
  if (p.count == 16 && aligned16(from) && aligned16(to)) *(uint4*)to = *(const uint4*)from;
  else for (u32 k = 0; k < p.count; k++) to[k] = from[k];
}
// `pattern` is one element repeated into 4 bytes.
KERNEL __launch_bounds__(256) fill_bytes(u8* out, u32 ldo, u32 pattern, u32 rows, u32 width) {
  Piece p = piece(rows, width);
  if (p.count == 0) return;
  u8* to = out + p.row * ldo + p.column;
  if (p.count == 16 && aligned16(to)) *(uint4*)to = make_uint4(pattern, pattern, pattern, pattern);
  else for (u32 k = 0; k < p.count; k++) to[k] = (u8)(pattern >> (8 * (k & 3)));
}
