// A GPU of fibers: every thread of a block runs as one, so that kernels with barriers, shared memory and warp exchanges run on a CPU as they are.
// Blocks run one after the other. Only what the kernels use is here.
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <utility>
#define EMULATED 1
#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define DEV static inline
#define KERNEL extern "C" void
#define TABLE static const
#define DYNAMIC_SHARED(type, name) type* name = (type*)device::dynamic
#define INF __builtin_inff()
#define GO()
#define WAIT() device::wait()

// How often a warp goes on before the next one has its turn, and whether the last one begins: where warps wait for each other, any order must do.
#ifndef SKEW
#define SKEW 1
#endif
#ifndef LAST_FIRST
#define LAST_FIRST 0
#endif

struct uint4 { unsigned x, y, z, w; };
struct float4 { float x, y, z, w; };
struct float2 { float x, y; };
struct int2 { int x, y; };
struct uint2 { unsigned x, y; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return uint2{x, y}; }
static inline int2 make_int2(int x, int y) { return int2{x, y}; }
struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace device {
alignas(1024) static char dynamic[232448];
const unsigned MOST = 1024, STACK = 256 << 10;
struct Barrier { unsigned arrived = 0, generation = 0; int any = 0, last = 0; };
// _setjmp and _longjmp switch without a call of the system, as swapcontext does not.
static jmp_buf scheduler, fibers[MOST];
static char* stacks[MOST];
static bool finished[MOST];
static unsigned current, alive, aliveInWarp[MOST / 32];
static Barrier block, warps[MOST / 32];
// Two buffers in turn: a lane comes to the second exchange only when all have left the first.
static uint64_t exchange[2][MOST];
static unsigned turns[MOST];
static void (*body)(void**);
static void** arguments;
// What the launches of a list write, for a launch that begins early: until every thread of a block waits it is garbage to them, and theirs not to touch.
struct Span { char* at; uint64_t length; };
static const Span* spans;
static unsigned spanCount;
static char* truth;
enum { ON_TIME, TOO_SOON, TOUCHED } early;
const unsigned char GARBAGE = 0xff;
static void hide() {
  early = TOO_SOON;
  char* to = truth;
  for (unsigned i = 0; i < spanCount; to += spans[i++].length) {
    memcpy(to, spans[i].at, spans[i].length);
    memset(spans[i].at, GARBAGE, spans[i].length);
  }
}
static void show() {
  early = ON_TIME;
  char* from = truth;
  for (unsigned i = 0; i < spanCount; from += spans[i++].length) {
    for (uint64_t b = 0; b < spans[i].length; b++) if ((unsigned char)spans[i].at[b] != GARBAGE) early = TOUCHED;
    memcpy(spans[i].at, from, spans[i].length);
  }
}

static void yield() {
  if (!_setjmp(fibers[current])) _longjmp(scheduler, 1);
}
// Threads that have ended do not take part. Ends when all others have come; returns whether any brought a value.
static int meet(Barrier& b, const unsigned& expected, int value) {
  unsigned generation = b.generation;
  b.any |= value;
  b.arrived++;
  while (b.generation == generation && b.arrived < expected) yield();
  if (b.generation == generation) {
    b.generation++;
    b.arrived = 0;
    b.last = b.any;
    b.any = 0;
  }
  return b.last;
}
static void wait() {
  meet(block, alive, 0);
  if (early == TOO_SOON) show();
}
static unsigned warp() { return current / 32; }
static void meetWarp() { meet(warps[warp()], aliveInWarp[warp()], 0); }
template <class T> static T from(T v, unsigned lane) {
  static_assert(sizeof(T) <= 8, "");
  uint64_t bits = 0;
  memcpy(&bits, &v, sizeof(T));
  unsigned turn = turns[current]++ & 1;
  exchange[turn][current] = bits;
  meetWarp();
  bits = exchange[turn][warp() * 32 + lane];
  memcpy(&v, &bits, sizeof(T));
  return v;
}
// A fiber lives as long as its library: each time it is resumed after its end it is the same thread of another block.
static void start() {
  for (;;) {
    body(arguments);
    finished[current] = true;
    alive--;
    aliveInWarp[warp()]--;
    yield();
  }
}
// Apart, so that nothing of the caller changes between the two returns of _setjmp.
static __attribute__((noinline)) void resume() {
  if (_setjmp(scheduler)) return;
  if (stacks[current]) _longjmp(fibers[current], 1);
  ucontext_t c;
  getcontext(&c);
  c.uc_stack.ss_sp = stacks[current] = (char*)malloc(STACK);
  c.uc_stack.ss_size = STACK;
  c.uc_link = nullptr;
  makecontext(&c, start, 0);
  setcontext(&c);
}
static void runBlock(unsigned n) {
  alive = n;
  block = Barrier();
  for (unsigned w = 0; w * 32 < n; w++) {
    warps[w] = Barrier();
    aliveInWarp[w] = n - w * 32 < 32 ? n - w * 32 : 32;
  }
  for (unsigned i = 0; i < n; i++) {
    finished[i] = false;
    turns[i] = 0;
  }
  unsigned count = (n + 31) / 32;
  while (alive)
    for (unsigned v = 0; v < count; v++) {
      unsigned w = LAST_FIRST ? count - 1 - v : v;
      for (unsigned turn = 0; turn < SKEW; turn++)
        for (unsigned i = w * 32; i < n && i < w * 32 + 32; i++)
          if (!finished[i]) {
            current = i;
            threadIdx = dim3{i, 0, 0};
            resume();
          }
    }
}
template <class... A, size_t... I> static void apply(void (*f)(A...), void** a, std::index_sequence<I...>) { f(*(A*)a[I]...); }
template <class... A> static void call(void (*f)(A...), void** a) { apply(f, a, std::index_sequence_for<A...>()); }
template <class... A> static constexpr unsigned arity(void (*)(A...)) { return sizeof...(A); }
}  // namespace device

static inline void __syncthreads() { device::meet(device::block, device::alive, 0); }
static inline int __syncthreads_or(int v) { return device::meet(device::block, device::alive, v != 0); }
static inline void __syncwarp() { device::meetWarp(); }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int o) { return device::from(v, (device::current & 31) ^ o); }
template <class T> static inline T __shfl_sync(unsigned, T v, int lane) { return device::from(v, lane); }
static inline unsigned __ballot_sync(unsigned, int p) {
  unsigned r = 0;
  for (unsigned i = 0; i < 32; i++) r |= device::from((unsigned)(p != 0), i) << i;
  return r;
}
// Four bytes of eight, each picked by the lower three bits of a nibble; the fourth bit is not used here.
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
  unsigned r = 0;
  for (unsigned i = 0; i < 4; i++) {
    if (s >> (4 * i) & 8) abort();
    r |= (unsigned)((((uint64_t)b << 32 | a) >> (8 * (s >> (4 * i) & 7))) & 255) << (8 * i);
  }
  return r;
}
static inline int __ffs(int v) { return __builtin_ffs(v); }
template <class T> static inline T __ldg(const T* p) { return *p; }
template <class A, class B> static inline auto min(A a, B b) { return a < b ? a : b; }
template <class A, class B> static inline auto max(A a, B b) { return a > b ? a : b; }
template <class T, class F> static inline T as(F f) { T t; memcpy(&t, &f, sizeof(T)); return t; }
static inline float __uint_as_float(unsigned v) { return as<float>(v); }
static inline float __int_as_float(int v) { return as<float>(v); }
static inline unsigned __float_as_uint(float v) { return as<unsigned>(v); }
static inline double __hiloint2double(int hi, int lo) { return as<double>(((uint64_t)(unsigned)hi << 32) | (unsigned)lo); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __frcp_rn(float a) { return 1.f / a; }
static inline float __fdividef(float a, float b) { return a / b; }
#define __expf(x) expf(x)
#define __logf(x) logf(x)

// The conversions that common.cuh writes in PTX, by the compiler's own _Float16.
static inline unsigned pack_f16(float lo, float hi) { return as<uint16_t>((_Float16)lo) | ((unsigned)as<uint16_t>((_Float16)hi) << 16); }
static inline float low_f16(unsigned v) { return (float)as<_Float16>((uint16_t)v); }
static inline float high_f16(unsigned v) { return low_f16(v >> 16); }
static inline unsigned stream(const unsigned* p) { return *p; }

// Shared memory by 32-bit address: the distance from the dynamic block, which is in reach of every static one.
static inline unsigned shared_address(const void* p) { return (unsigned)(int)((const char*)p - device::dynamic); }
static inline char* shared_pointer(unsigned a) { return device::dynamic + (int)a; }
static inline void copy16(unsigned to, const void* from, bool there) {
  if (there) memcpy(shared_pointer(to), from, 16);
  else memset(shared_pointer(to), 0, 16);
}
static inline void copies_commit() {}
template <int N> static inline void copies_wait() {}
static inline void load_matrices_of(unsigned* r, unsigned address, bool transposed) {
  static unsigned addresses[2][1024];
  auto rows = addresses[device::turns[device::current]++ & 1] + (device::current & ~31u);
  unsigned lane = device::current & 31;
  rows[lane] = address;
  device::meetWarp();
  for (int m = 0; m < 4; m++) {
    unsigned short two[2];
    for (int c = 0; c < 2; c++) {
      // Lane l holds row l / 4, columns 2·(l % 4) and the next; transposed: the other way round.
      unsigned row = lane / 4, column = lane % 4 * 2 + c;
      if (transposed) { unsigned t = row; row = column; column = t; }
      memcpy(&two[c], shared_pointer(rows[8 * m + row]) + 2 * column, 2);
    }
    r[m] = two[0] | ((unsigned)two[1] << 16);
  }
}
static inline void load_matrices(unsigned* r, unsigned a) { load_matrices_of(r, a, false); }
static inline void load_matrices_transposed(unsigned* r, unsigned a) { load_matrices_of(r, a, true); }
static inline float power_of_two(float x) { return exp2f(x); }

struct bf16;
struct f16;
static inline float half_of(unsigned v, int which, const bf16*) { return __uint_as_float(which ? v & 0xffff0000u : v << 16); }
static inline float half_of(unsigned v, int which, const f16*) { return low_f16(which ? v >> 16 : v); }
// Lane l of a 16×8 result has rows l / 4 and l / 4 + 8, columns 2·(l % 4) and the next.
template <class T> static inline void mma(float* c, const unsigned* a, const unsigned* b, const T* type) {
  static unsigned buffers[2][1024][6];
  auto operands = buffers[device::turns[device::current]++ & 1];
  unsigned base = device::current & ~31u, lane = device::current & 31, row = lane / 4, column = lane % 4 * 2;
  for (int i = 0; i < 6; i++) operands[device::current][i] = i < 4 ? a[i] : b[i - 4];
  device::meetWarp();
  for (int e = 0; e < 4; e++)
    for (int k = 0; k < 16; k++) {
      unsigned n = column + (e & 1);
      float x = half_of(operands[base + row * 4 + k % 8 / 2][(k / 8) * 2 + e / 2], k & 1, type);
      c[e] += x * half_of(operands[base + n * 4 + k % 8 / 2][4 + k / 8], k & 1, type);
    }
}

// Barriers among some warps, by number.
static device::Barrier named[16];
static inline void barrier_leave(int id, int threads) {
  device::Barrier& b = named[id];
  if (++b.arrived < (unsigned)threads) return;
  b.arrived = 0;
  b.generation++;
}
static inline void barrier_meet(int id, int threads) {
  unsigned generation = named[id].generation;
  barrier_leave(id, threads);
  while (named[id].generation == generation) device::yield();
}
static inline void __threadfence_block() {}
// Others go on while one waits for what they write.
#define RELAX() device::yield()

// Hopper: barriers in shared memory, tile copies by TMA, products of warpgroups. Copies and products happen at once where they are issued.
static inline int atomicAdd(int* p, int v) { int old = *p; *p += v; return old; }
struct Arrivals { short pending, expected; int bytes : 31; unsigned phase : 1; };
static_assert(sizeof(Arrivals) == 8, "");
static inline Arrivals& arrivals(unsigned b) { return *(Arrivals*)shared_pointer(b); }
static inline void barrier_settle(Arrivals& a) {
  if (a.pending || a.bytes) return;
  a.phase ^= 1;
  a.pending = a.expected;
}
static inline void barrier_init(unsigned b, int n) { arrivals(b) = Arrivals{(short)n, (short)n, 0, 0}; }
static inline void barriers_ready() {}
static inline void barrier_arrive(unsigned b) {
  if (arrivals(b).pending-- <= 0) abort();
  barrier_settle(arrivals(b));
}
static inline void barrier_expect(unsigned b, int bytes) {
  arrivals(b).bytes += bytes;
  barrier_arrive(b);
}
static inline void barrier_bytes(unsigned b, int bytes) {
  arrivals(b).bytes -= bytes;
  barrier_settle(arrivals(b));
}
static inline void barrier_wait(unsigned b, int parity) {
  while ((int)arrivals(b).phase == (parity & 1)) device::yield();
}
// What the tests give for a tensor map.
struct TensorMap { uint64_t base, rows, columns, ld, boxRows, rest[11]; };
#define MAP const TensorMap
static inline unsigned swizzled(unsigned a) { return a ^ ((a >> 3) & 0x70); }
static inline void tma_load(unsigned to, const TensorMap* m, int column, int row, unsigned barrier) {
  if (to % 1024) abort();
  for (unsigned r = 0; r < m->boxRows; r++)
    for (unsigned c = 0; c < 64; c++) {
      unsigned short v = 0;
      if (row + r < m->rows && column + c < m->columns) memcpy(&v, (char*)m->base + ((row + r) * m->ld + column + c) * 2, 2);
      memcpy(shared_pointer(swizzled(to + r * 128 + c * 2)), &v, 2);
    }
  barrier_bytes(barrier, m->boxRows * 128);
}
static inline void bulk_load(unsigned to, const void* from, int bytes, unsigned barrier) {
  if ((uintptr_t)from % 16 || to % 16 || bytes % 16) abort();
  memcpy(shared_pointer(to), from, bytes);
  barrier_bytes(barrier, bytes);
}
static inline void products_fence() {}
static inline void products_commit() {}
template <int N> static inline void products_wait() {}
template <int N> static inline void more_registers() {}
template <int N> static inline void fewer_registers() {}
template <int R> static inline void pin(float (&)[R]) {}
// Element of an operand by descriptor: [row][k] with k in 128-byte rows, or TRANSPOSED [k][row] in chunks of 64.
static inline unsigned short operand(uint64_t d, unsigned row, unsigned k, bool transposed) {
  unsigned start = (unsigned)(d & 0x3fff) << 4, lead = (unsigned)((d >> 16) & 0x3fff) << 4, groups = (unsigned)((d >> 32) & 0x3fff) << 4, a;
  if (d >> 62 != 1) abort();
  if (transposed) a = start + row / 64 * lead + k / 8 * groups + k % 8 * 128 + row % 64 * 2;
  else a = start + row / 8 * groups + row % 8 * 128 + k * 2;
  unsigned short v;
  memcpy(&v, shared_pointer(swizzled(a)), 2);
  return v;
}
#ifdef E_F16
static inline float value_of(unsigned short v) { return low_f16(v); }
#else
static inline float value_of(unsigned short v) { return __uint_as_float((unsigned)v << 16); }
#endif
// Lane l of warp w has rows 16w + l / 4 and 8 more, columns 8i + 2·(l % 4) and the next.
template <int TRANSPOSED, int R> static inline void product(float (&d)[R], uint64_t a, uint64_t b, int add) {
  unsigned lane = device::current & 31, row = device::current / 32 % 4 * 16 + lane / 4, column = lane % 4 * 2;
  float x[2][16];
  for (unsigned e = 0; e < 2; e++)
    for (unsigned k = 0; k < 16; k++) x[e][k] = value_of(operand(a, row + 8 * e, k, false));
  for (unsigned i = 0; i < R; i++) {
    float s = add ? d[i] : 0.f;
    for (unsigned k = 0; k < 16; k++) s += x[i / 2 % 2][k] * value_of(operand(b, i / 4 * 8 + column + i % 2, k, TRANSPOSED));
    d[i] = s;
  }
}
template <int TRANSPOSED, int R> static inline void product(float (&d)[R], const unsigned* a, uint64_t b) {
  static unsigned buffers[2][1024][4];
  auto lanes = buffers[device::turns[device::current]++ & 1];
  unsigned base = device::current & ~31u, lane = device::current & 31, column = lane % 4 * 2;
  for (int i = 0; i < 4; i++) lanes[device::current][i] = a[i];
  device::meetWarp();
  for (unsigned i = 0; i < R; i++)
    for (unsigned k = 0; k < 16; k++) {
      unsigned word = lanes[base + lane / 4 * 4 + k % 8 / 2][k / 8 * 2 + i / 2 % 2];
      d[i] += value_of((unsigned short)(k % 2 ? word >> 16 : word)) * value_of(operand(b, i / 4 * 8 + column + i % 2, k, TRANSPOSED));
    }
}
