// Between float widths, rounded to nearest even.
KERNEL __launch_bounds__(256) cast_rows(const elem* a, u32 lda, other* out, u32 ldo, u32 rows, u32 width) {
  Octet o = octet(rows, width);
  if (o.count == 0) return;
  float x[8];
  get(x, a + o.row * lda + o.column, o.count);
  put(out + o.row * ldo + o.column, x, o.count);
}
