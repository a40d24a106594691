// Prefix of every kernel source. No headers, so NVRTC needs no include path; conversions are inline PTX.
// E_F32, E_BF16 or E_F16 picks `elem`, O_F32, O_BF16 or O_F16 picks `other`: storage types. Arithmetic is f32, rounded once when stored.
// EMULATED (tests, no GPU) brings its own versions of the blocks that it guards.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef EMULATED
#define DEV __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define TABLE __device__ const
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#define INF __int_as_float(0x7f800000)
#endif
// Where a launch may begin before the one ahead of it has ended (sm_90): GO lets the next one begin, WAIT until the one ahead is over and all it
// wrote is there. Whoever may begin early waits before it reads or writes what any launch of its list writes, in every thread. Otherwise nothing.
// lower/early.ts says why that is enough.
#ifndef EMULATED
#if __CUDA_ARCH__ >= 900
#define GO() asm volatile("griddepcontrol.launch_dependents;" ::: "memory")
#define WAIT() asm volatile("griddepcontrol.wait;" ::: "memory")
#else
#define GO()
#define WAIT()
#endif
#endif
#define LOG2E 1.4426950408889634f

struct bf16 { u16 bits; };
struct f16 { u16 bits; };

#ifndef EMULATED
DEV u32 pack_f16(float lo, float hi) {
  u32 d;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
#else
  asm("{.reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}" : "=r"(d) : "f"(lo), "f"(hi));
#endif
  return d;
}
DEV float low_f16(u32 v) {
  float f;
  asm("{.reg .f16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a;}" : "=f"(f) : "r"(v));
  return f;
}
DEV float high_f16(u32 v) { return low_f16(v >> 16); }
// Read once: does not stay in L1.
DEV u32 stream(const u32* p) {
  u32 v;
  asm volatile("ld.global.nc.L1::no_allocate.b32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
#endif

#ifndef EMULATED
// Shared memory by 32-bit address, 16 bytes at a time. Copies run beside the block's work where the hardware has that (sm_80); before,
// they are made at once and waiting is nothing.
DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
DEV void copy16(u32 to, const void* from, bool there) {
#if __CUDA_ARCH__ >= 800
  int n = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(n));
#else
  uint4 v = make_uint4(0, 0, 0, 0);
  if (there) v = *(const uint4*)from;
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
#endif
}
DEV void copies_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;");
#endif
}
// All but the newest N groups have arrived.
template <int N> DEV void copies_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}
// Four 8×8 matrices of 16 bit; lane l gives the address of row l % 8 of matrix l / 8. `transposed` turns each.
DEV void load_matrices(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
DEV void load_matrices_transposed(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
// c[16×8] += a[16×16]·b[16×8] on the tensor cores, sums in f32; Turing takes it in two halves of the inner dimension.
DEV void mma(float* c, const u32* a, const u32* b, const f16*) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
  for (int k = 0; k < 2; k++)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#endif
}
#if __CUDA_ARCH__ >= 800
DEV void mma(float* c, const u32* a, const u32* b, const bf16*) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
// 2^x
DEV float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#endif

// Nearest even by integer arithmetic where the instruction is missing; a NaN stays one.
DEV u32 round_bf16(float x) {
  u32 b = __float_as_uint(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
}
DEV u32 pack_bf16(float lo, float hi) {
#if !defined(EMULATED) && __CUDA_ARCH__ >= 800
  u32 d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
  return d;
#else
  return round_bf16(lo) | (round_bf16(hi) << 16);
#endif
}

// How a storage type is read and written, singly and by pairs of 16 bit.
DEV u32 pack(float lo, float hi, const bf16*) { return pack_bf16(lo, hi); }
DEV u32 pack(float lo, float hi, const f16*) { return pack_f16(lo, hi); }
DEV float low(u32 v, const bf16*) { return __uint_as_float(v << 16); }
DEV float high(u32 v, const bf16*) { return __uint_as_float(v & 0xffff0000u); }
DEV float low(u32 v, const f16*) { return low_f16(v); }
DEV float high(u32 v, const f16*) { return high_f16(v); }
DEV float load(const float* p) { return *p; }
template <class T> DEV float load(const T* p) { return low(p->bits, p); }
DEV void store(float* p, float x) { *p = x; }
template <class T> DEV void store(T* p, float x) { p->bits = (u16)pack(x, 0.f, p); }
// The value that storing leaves.
DEV float rounded(float x, const float*) { return x; }
template <class T> DEV float rounded(float x, const T* p) { return low(pack(x, 0.f, p), p); }

DEV bool aligned16(const void* p) { return ((u64)p & 15) == 0; }
DEV void load8(float (&x)[8], const float* p) {
  float4 a = ((const float4*)p)[0], b = ((const float4*)p)[1];
  x[0] = a.x; x[1] = a.y; x[2] = a.z; x[3] = a.w; x[4] = b.x; x[5] = b.y; x[6] = b.z; x[7] = b.w;
}
template <class T> DEV void load8(float (&x)[8], const T* p) {
  uint4 v = *(const uint4*)p;
  x[0] = low(v.x, p); x[1] = high(v.x, p); x[2] = low(v.y, p); x[3] = high(v.y, p);
  x[4] = low(v.z, p); x[5] = high(v.z, p); x[6] = low(v.w, p); x[7] = high(v.w, p);
}
DEV void store8(float* p, const float (&x)[8]) {
  ((float4*)p)[0] = make_float4(x[0], x[1], x[2], x[3]);
  ((float4*)p)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
template <class T> DEV void store8(T* p, const float (&x)[8]) {
  *(uint4*)p = make_uint4(pack(x[0], x[1], p), pack(x[2], x[3], p), pack(x[4], x[5], p), pack(x[6], x[7], p));
}
// Up to 8 neighbours: by 16 bytes where they are whole and aligned, else one by one; what is not there reads as 0.
template <class T> DEV void get(float (&x)[8], const T* p, u32 n) {
  if (n == 8 && aligned16(p)) load8(x, p);
  else
#pragma unroll
    for (u32 k = 0; k < 8; k++) x[k] = k < n ? load(p + k) : 0.f;
}
template <class T> DEV void put(T* p, const float (&x)[8], u32 n) {
  if (n == 8 && aligned16(p)) store8(p, x);
  else
#pragma unroll
    for (u32 k = 0; k < 8; k++) if (k < n) store(p + k, x[k]);
}

// 8-bit floats: ir/number.ts is the definition, and every step here gives its bits.
// Nearest even, saturating; a NaN is 0x7f. Normal numbers by adding to the bits, subnormal ones by an addition that leaves their step as the last bit.
template <int MANTISSA, int BIAS, u32 MOST> DEV u32 round_float8(float x) {
  u32 b = __float_as_uint(x), sign = (b >> 24) & 0x80u, a = b & 0x7fffffffu;
  if (a > 0x7f800000u) return 0x7fu;
  if ((a >> 23) < 128u - BIAS) {
    float step = __uint_as_float((u32)(127 + 23 + 1 - BIAS - MANTISSA) << 23);
    return sign | (__float_as_uint(__fadd_rn(__uint_as_float(a), step)) - __float_as_uint(step));
  }
  u32 code = ((a + ((1u << (22 - MANTISSA)) - 1u) + ((a >> (23 - MANTISSA)) & 1u)) >> (23 - MANTISSA)) - ((u32)(127 - BIAS) << MANTISSA);
  return sign | min(code, MOST);
}
DEV u32 e4m3x2(float lo, float hi) {
#if !defined(EMULATED) && __CUDA_ARCH__ >= 890
  u16 d;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(d) : "f"(hi), "f"(lo));
  return d;
#else
  return round_float8<3, 7, 0x7eu>(lo) | (round_float8<3, 7, 0x7eu>(hi) << 8);
#endif
}
DEV u32 e5m2x2(float lo, float hi) {
#if !defined(EMULATED) && __CUDA_ARCH__ >= 890
  u16 d;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(d) : "f"(hi), "f"(lo));
  return d;
#else
  return round_float8<2, 15, 0x7bu>(lo) | (round_float8<2, 15, 0x7bu>(hi) << 8);
#endif
}
DEV u32 e4m3x4(float a, float b, float c, float d) { return e4m3x2(a, b) | (e4m3x2(c, d) << 16); }

// The scale of a row by its largest absolute value: the least power of two, from 2^-126 on, that keeps it within 1.75 · 2^top.
DEV float scale_of(float most, int top) {
  if (most == 0.f) return 1.f;
  u32 b = __float_as_uint(most);
  if (b >= 0x7f800000u) return __uint_as_float(0x7fc00000u);
  int e = (int)(b >> 23) - 127 - top + ((b & 0x7fffffu) > 0x600000u ? 1 : 0);
  return __uint_as_float((u32)(max(e, -126) + 127) << 23);
}
DEV float inverse_of(float power) { return __uint_as_float(0x7f000000u - __float_as_uint(power)); }
// Of a row's scale, which a NaN or an infinity in the row makes NaN.
DEV float row_inverse(float scale) { return scale == scale ? inverse_of(scale) : scale; }

// What rows are quantized to: e4m3, or with X_E5M2 e5m2.
#ifdef X_E5M2
#define TOP 15
DEV u32 eightx2(float lo, float hi) { return e5m2x2(lo, hi); }
#else
#define TOP 8
DEV u32 eightx2(float lo, float hi) { return e4m3x2(lo, hi); }
#endif

// A 64-bit count of two 32-bit arguments.
DEV u64 joined(u32 lo, u32 hi) { return ((u64)hi << 32) | lo; }

#if defined(E_F32)
typedef float elem;
#elif defined(E_BF16)
typedef bf16 elem;
#elif defined(E_F16)
typedef f16 elem;
#endif
#if defined(O_F32)
typedef float other;
#elif defined(O_BF16)
typedef bf16 other;
#elif defined(O_F16)
typedef f16 other;
#endif

// 16-bit results do not see the last bits of an exponential; f32 ones do.
DEV float exponential(float x) {
#ifdef E_F32
  return expf(x);
#else
  return __expf(x);
#endif
}
DEV float logarithm(float x) { return logf(x); }
DEV float sigmoid(float x) {
#ifdef E_F32
  return 1.f / (1.f + expf(-x));
#else
  return __fdividef(1.f, 1.f + __expf(-x));
#endif
}

// The up to 8 neighbouring elements of one row that a thread owns; count 0: none.
struct Octet { u64 row; u32 column, count; };
DEV Octet octet_at(u64 i, u32 rows, u32 width) {
  u32 per = (width + 7) >> 3;
  Octet o;
  u32 c;
  if (rows == 1) { o.row = i >= per; c = (u32)i; }
  else if (i >> 32) { o.row = i / per; c = (u32)(i - o.row * per); }
  else { u32 r = (u32)i / per; o.row = r; c = (u32)i - r * per; }
  o.column = c * 8;
  o.count = o.row < rows ? min(8u, width - o.column) : 0;
  return o;
}
DEV Octet octet(u32 rows, u32 width) { return octet_at((u64)blockIdx.x * blockDim.x + threadIdx.x, rows, width); }

DEV float warp_sum(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
DEV float warp_max(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  return v;
}
// Over all threads of a block of whole warps, in a fixed order; every thread gets the result.
DEV float block_sum(float v) {
  __shared__ float part[32];
  u32 t = threadIdx.x, warps = blockDim.x >> 5;
  v = warp_sum(v);
  __syncthreads();
  if ((t & 31) == 0) part[t >> 5] = v;
  __syncthreads();
  return warp_sum((t & 31) < warps ? part[t & 31] : 0.f);
}
// Two sums at once: half the waiting.
DEV void block_sums(float& a, float& b) {
  __shared__ float part[64];
  u32 t = threadIdx.x, warps = blockDim.x >> 5;
  a = warp_sum(a);
  b = warp_sum(b);
  __syncthreads();
  if ((t & 31) == 0) {
    part[t >> 5] = a;
    part[32 + (t >> 5)] = b;
  }
  __syncthreads();
  a = warp_sum((t & 31) < warps ? part[t & 31] : 0.f);
  b = warp_sum((t & 31) < warps ? part[32 + (t & 31)] : 0.f);
}
DEV float block_max(float v) {
  __shared__ float part[32];
  u32 t = threadIdx.x, warps = blockDim.x >> 5;
  v = warp_max(v);
  __syncthreads();
  if ((t & 31) == 0) part[t >> 5] = v;
  __syncthreads();
  return warp_max((t & 31) < warps ? part[t & 31] : -INF);
}

// ir/random.ts hash32: what dropout draws.
DEV u32 hash32(u32 seed, u32 salt, u32 index, u32 key) {
  u32 h = (index * 0x9e3779b1u + salt * 0x85ebca6bu + seed) ^ key;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  return h ^ (h >> 16);
}

// 8-bit integers (ir/int8.ts is the definition): code × scale, then × 1/127, each rounded, as bitsandbytes computes it.
// They are made of values that have been rounded to f16.
DEV float as_half(float x) { return rounded(x, (const f16*)0); }
// What a row is multiplied by; where there is nothing but zeros, codes are zero.
DEV float int8_factor(float most) { return most == 0.f ? 0.f : __fmul_rn(__frcp_rn(most), 127.f); }
DEV float int8_value(signed char code, float scale) { return __fmul_rn(__fmul_rn((float)code, scale), 0.007874015748031496f); }

// NF4 (ir/nf4.ts is the definition): the values of codes.
TABLE float CODEBOOK[16] = {-1.f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
  -0.09105003625154495f, 0.f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f,
  0.5626170039176941f, 0.7229568362236023f, 1.f};
DEV float code_value(u32 code) { return CODEBOOK[code]; }
// Bits of the dynamic map of scales' codes, ascending.
TABLE u32 DYNAMIC_MAP[256] = {
  0xbf7e3333, 0xbf7a999a, 0xbf770000, 0xbf736666, 0xbf6fcccd, 0xbf6c3333, 0xbf68999a, 0xbf650000,
  0xbf616666, 0xbf5dcccd, 0xbf5a3333, 0xbf56999a, 0xbf530000, 0xbf4f6666, 0xbf4bcccd, 0xbf483333,
  0xbf44999a, 0xbf410000, 0xbf3d6666, 0xbf39cccd, 0xbf363334, 0xbf32999a, 0xbf2f0000, 0xbf2b6666,
  0xbf27cccd, 0xbf243334, 0xbf20999a, 0xbf1d0000, 0xbf196666, 0xbf15cccd, 0xbf123334, 0xbf0e999a,
  0xbf0b0000, 0xbf076666, 0xbf03cccc, 0xbf003333, 0xbef93332, 0xbef20000, 0xbeeacccc, 0xbee3999a,
  0xbedc6666, 0xbed53333, 0xbece0000, 0xbec6cccc, 0xbebf999a, 0xbeb86666, 0xbeb13333, 0xbeaa0000,
  0xbea2cccc, 0xbe9b999a, 0xbe946666, 0xbe8d3334, 0xbe860000, 0xbe7d9999, 0xbe6f3333, 0xbe60cccd,
  0xbe526666, 0xbe440000, 0xbe35999a, 0xbe273333, 0xbe18cccd, 0xbe0a6666, 0xbdf80000, 0xbddb3334,
  0xbdc9eb85, 0xbdc428f7, 0xbdbe6667, 0xbdb8a3d7, 0xbdb2e148, 0xbdad1eb8, 0xbda75c2a, 0xbda1999a,
  0xbd9bd70a, 0xbd96147b, 0xbd9051eb, 0xbd8a8f5d, 0xbd84cccd, 0xbd7e147b, 0xbd728f5d, 0xbd670a3d,
  0xbd5b851f, 0xbd500000, 0xbd447ae1, 0xbd38f5c3, 0xbd2d70a3, 0xbd21eb85, 0xbd166667, 0xbd0ae148,
  0xbcfeb852, 0xbce7ae15, 0xbcd0a3d7, 0xbcb9999a, 0xbca28f5d, 0xbc8b851f, 0xbc68f5c3, 0xbc3ae148,
  0xbc1f3b64, 0xbc160418, 0xbc0ccccd, 0xbc039581, 0xbbf4bc6a, 0xbbe24dd3, 0xbbcfdf3b, 0xbbbd70a4,
  0xbbab020d, 0xbb989374, 0xbb8624dd, 0xbb676c8a, 0xbb428f5c, 0xbb1db22d, 0xbaf1a9fc, 0xbaa7ef9d,
  0xba7765ff, 0xba59e83e, 0xba3c6a80, 0xba1eecc1, 0xba016f01, 0xb9c7e283, 0xb98ce705, 0xb923d70b,
  0xb8ba1f4b, 0xb88aefb3, 0xb8378034, 0xb7b24206, 0xb70205ff, 0xb65a1a94, 0xb513a3b7, 0x00000000,
  0x3513a3b7, 0x365a1a94, 0x370205ff, 0x37b24206, 0x38378034, 0x388aefb3, 0x38ba1f4b, 0x3923d70b,
  0x398ce705, 0x39c7e283, 0x3a016f01, 0x3a1eecc1, 0x3a3c6a80, 0x3a59e83e, 0x3a7765ff, 0x3aa7ef9d,
  0x3af1a9fc, 0x3b1db22d, 0x3b428f5c, 0x3b676c8a, 0x3b8624dd, 0x3b989374, 0x3bab020d, 0x3bbd70a4,
  0x3bcfdf3b, 0x3be24dd3, 0x3bf4bc6a, 0x3c039581, 0x3c0ccccd, 0x3c160418, 0x3c1f3b64, 0x3c3ae148,
  0x3c68f5c3, 0x3c8b851f, 0x3ca28f5d, 0x3cb9999a, 0x3cd0a3d7, 0x3ce7ae15, 0x3cfeb852, 0x3d0ae148,
  0x3d166667, 0x3d21eb85, 0x3d2d70a3, 0x3d38f5c3, 0x3d447ae1, 0x3d500000, 0x3d5b851f, 0x3d670a3d,
  0x3d728f5d, 0x3d7e147b, 0x3d84cccd, 0x3d8a8f5d, 0x3d9051eb, 0x3d96147b, 0x3d9bd70a, 0x3da1999a,
  0x3da75c2a, 0x3dad1eb8, 0x3db2e148, 0x3db8a3d7, 0x3dbe6667, 0x3dc428f7, 0x3dc9eb85, 0x3ddb3334,
  0x3df80000, 0x3e0a6666, 0x3e18cccd, 0x3e273333, 0x3e35999a, 0x3e440000, 0x3e526666, 0x3e60cccd,
  0x3e6f3333, 0x3e7d9999, 0x3e860000, 0x3e8d3334, 0x3e946666, 0x3e9b999a, 0x3ea2cccc, 0x3eaa0000,
  0x3eb13333, 0x3eb86666, 0x3ebf999a, 0x3ec6cccc, 0x3ece0000, 0x3ed53333, 0x3edc6666, 0x3ee3999a,
  0x3eeacccc, 0x3ef20000, 0x3ef93332, 0x3f003333, 0x3f03cccc, 0x3f076666, 0x3f0b0000, 0x3f0e999a,
  0x3f123334, 0x3f15cccd, 0x3f196666, 0x3f1d0000, 0x3f20999a, 0x3f243334, 0x3f27cccd, 0x3f2b6666,
  0x3f2f0000, 0x3f32999a, 0x3f363334, 0x3f39cccd, 0x3f3d6666, 0x3f410000, 0x3f44999a, 0x3f483333,
  0x3f4bcccd, 0x3f4f6666, 0x3f530000, 0x3f56999a, 0x3f5a3333, 0x3f5dcccd, 0x3f616666, 0x3f650000,
  0x3f68999a, 0x3f6c3333, 0x3f6fcccd, 0x3f736666, 0x3f770000, 0x3f7a999a, 0x3f7e3333, 0x3f800000};
DEV float dynamic_value(u32 code) { return __uint_as_float(DYNAMIC_MAP[code]); }
// Two roundings, product then sum.
DEV float nested_scale(u32 code, float second, float offset) { return __fadd_rn(__fmul_rn(dynamic_value(code), second), offset); }

// A 64×64 tile of a product by 256 threads of 4×4: so many of the inner dimension at a time, added in order.
#define TILE_K 16
DEV void add_tile(float (&sum)[4][4], const float (&a)[TILE_K][65], const float (&b)[TILE_K][65]) {
  u32 y = threadIdx.x >> 4, x = threadIdx.x & 15;
#pragma unroll
  for (u32 l = 0; l < TILE_K; l++)
#pragma unroll
    for (u32 i = 0; i < 4; i++)
#pragma unroll
      for (u32 j = 0; j < 4; j++) sum[i][j] += a[l][y + 16 * i] * b[l][x + 16 * j];
}
