// 8-bit state in blocks of 256 (ir/eight.ts is the definition): a block of threads is a block of values.
// Bits of the unsigned dynamic map, ascending.
TABLE u32 UNSIGNED_MAP[256] = {
  0x00000000u, 0x34ae7baau, 0x35500998u, 0x360e9b38u, 0x3692ccf6u, 0x36de4c51u, 0x3714e5d5u, 0x3783126eu,
  0x37e171a0u, 0x381fe868u, 0x384f1800u, 0x387e479au, 0x3896bb99u, 0x38ae5364u, 0x38c5eb31u, 0x3906594bu,
  0x394154cau, 0x397c5049u, 0x399ba5e4u, 0x39b923a2u, 0x39d6a163u, 0x39f41f22u, 0x3a08ce71u, 0x3a178d50u,
  0x3a264c30u, 0x3a350b10u, 0x3a43c9efu, 0x3a5288d0u, 0x3a6147afu, 0x3a70068eu, 0x3a7ec56eu, 0x3a958106u,
  0x3aba5e35u, 0x3adf3b64u, 0x3b020c4au, 0x3b147ae1u, 0x3b26e978u, 0x3b395810u, 0x3b4bc6a7u, 0x3b5e3540u,
  0x3b70a3d7u, 0x3b818937u, 0x3b8ac082u, 0x3b93f7cfu, 0x3b9d2f1au, 0x3ba66666u, 0x3baf9db2u, 0x3bb8d4fdu,
  0x3bc20c4au, 0x3bcb4395u, 0x3bd47ae1u, 0x3bddb22eu, 0x3be6e978u, 0x3bf020c5u, 0x3bf9580fu, 0x3c0147aeu,
  0x3c05e354u, 0x3c0a7ef9u, 0x3c0f1aa0u, 0x3c13b645u, 0x3c1851ebu, 0x3c1ced92u, 0x3c218937u, 0x3c2f5c2au,
  0x3c466667u, 0x3c5d70a3u, 0x3c747ae2u, 0x3c85c28fu, 0x3c9147afu, 0x3c9ccccdu, 0x3ca851ebu, 0x3cb3d70bu,
  0x3cbf5c29u, 0x3ccae147u, 0x3cd66667u, 0x3ce1eb87u, 0x3ced70a3u, 0x3cf8f5c3u, 0x3d023d70u, 0x3d080000u,
  0x3d0dc28fu, 0x3d13851fu, 0x3d1947afu, 0x3d1f0a3du, 0x3d24cccdu, 0x3d2a8f5cu, 0x3d3051ebu, 0x3d36147bu,
  0x3d3bd70au, 0x3d41999au, 0x3d475c28u, 0x3d4d1eb8u, 0x3d52e147u, 0x3d58a3d7u, 0x3d5e6667u, 0x3d6428f7u,
  0x3d69eb87u, 0x3d6fae15u, 0x3d7570a3u, 0x3d7b3333u, 0x3d807ae2u, 0x3d835c2au, 0x3d863d71u, 0x3d891eb8u,
  0x3d8c0000u, 0x3d8ee148u, 0x3d91c290u, 0x3d94a3d7u, 0x3d97851fu, 0x3d9a6667u, 0x3d9d47afu, 0x3da028f6u,
  0x3da30a3eu, 0x3da5eb85u, 0x3da8cccdu, 0x3dabae15u, 0x3dae8f5cu, 0x3db170a4u, 0x3db451ebu, 0x3db73333u,
  0x3dba147bu, 0x3dbcf5c3u, 0x3dbfd70bu, 0x3dc2b852u, 0x3dc5999au, 0x3dc87ae2u, 0x3dcb5c29u, 0x3dd40000u,
  0x3de26666u, 0x3df0cccdu, 0x3dff3333u, 0x3e06ccccu, 0x3e0e0000u, 0x3e153334u, 0x3e1c6666u, 0x3e23999au,
  0x3e2accccu, 0x3e320000u, 0x3e393334u, 0x3e406666u, 0x3e47999au, 0x3e4eccccu, 0x3e560000u, 0x3e5d3334u,
  0x3e646666u, 0x3e6b999au, 0x3e72ccccu, 0x3e7a0000u, 0x3e809999u, 0x3e843333u, 0x3e87cccdu, 0x3e8b6666u,
  0x3e8f0000u, 0x3e92999au, 0x3e963333u, 0x3e99ccccu, 0x3e9d6666u, 0x3ea10000u, 0x3ea4999au, 0x3ea83333u,
  0x3eabccccu, 0x3eaf6666u, 0x3eb30000u, 0x3eb6999au, 0x3eba3333u, 0x3ebdccccu, 0x3ec16666u, 0x3ec50000u,
  0x3ec8999au, 0x3ecc3333u, 0x3ecfccccu, 0x3ed36666u, 0x3ed70000u, 0x3eda999au, 0x3ede3333u, 0x3ee1ccccu,
  0x3ee56666u, 0x3ee90000u, 0x3eec999au, 0x3ef03333u, 0x3ef3ccccu, 0x3ef76666u, 0x3efb0000u, 0x3efe9999u,
  0x3f01199au, 0x3f02e666u, 0x3f04b333u, 0x3f068000u, 0x3f084cccu, 0x3f0a199au, 0x3f0be666u, 0x3f0db334u,
  0x3f0f8000u, 0x3f114ccdu, 0x3f13199au, 0x3f14e666u, 0x3f16b334u, 0x3f188000u, 0x3f1a4ccdu, 0x3f1c199au,
  0x3f1de666u, 0x3f1fb334u, 0x3f218000u, 0x3f234ccdu, 0x3f25199au, 0x3f26e666u, 0x3f28b334u, 0x3f2a8000u,
  0x3f2c4ccdu, 0x3f2e199au, 0x3f2fe666u, 0x3f31b334u, 0x3f338000u, 0x3f354ccdu, 0x3f37199au, 0x3f38e666u,
  0x3f3ab334u, 0x3f3c8000u, 0x3f3e4ccdu, 0x3f40199au, 0x3f41e666u, 0x3f43b334u, 0x3f458000u, 0x3f474cccu,
  0x3f49199au, 0x3f4ae666u, 0x3f4cb334u, 0x3f4e8000u, 0x3f504cccu, 0x3f52199au, 0x3f53e666u, 0x3f55b334u,
  0x3f578000u, 0x3f594cccu, 0x3f5b199au, 0x3f5ce666u, 0x3f5eb334u, 0x3f608000u, 0x3f624cccu, 0x3f64199au,
  0x3f65e666u, 0x3f67b334u, 0x3f698000u, 0x3f6b4cccu, 0x3f6d199au, 0x3f6ee666u, 0x3f70b334u, 0x3f728000u,
  0x3f744cccu, 0x3f76199au, 0x3f77e666u, 0x3f79b334u, 0x3f7b8000u, 0x3f7d4cccu, 0x3f7f199au, 0x3f800000u,
};

// Maps and their thresholds in shared memory. A code is how many thresholds lie below; what is negative never becomes 0.
struct Maps { float value[256], above[256]; };
DEV void fill_map(Maps& m, u32 isUnsigned) {
  u32 t = threadIdx.x;
  m.value[t] = isUnsigned ? __uint_as_float(UNSIGNED_MAP[t]) : dynamic_value(t);
  __syncthreads();
  m.above[t] = t < 255 ? __fmul_rn(__fadd_rn(m.value[t], m.value[t + 1]), 0.5f) : INF;
  __syncthreads();
}
DEV u32 code8(const Maps& m, float x, u32 isUnsigned) {
  u32 k = 0;
#pragma unroll
  for (u32 step = 128; step > 0; step >>= 1)
    if (x > m.above[k + step - 1]) k += step;
  if (isUnsigned) return k;
  // Between the two codes beside zero the sign decides.
  return k == 127 && x < 0.f ? 126 : k == 126 && x >= 0.f ? 127 : k;
}
// The largest magnitude of the 256 values of a block.
DEV float largest(float x, float* shared) {
  u32 t = threadIdx.x;
  float most = warp_max(fabsf(x));
  if ((t & 31) == 0) shared[t >> 5] = most;
  __syncthreads();
  most = shared[0];
#pragma unroll
  for (u32 i = 1; i < 8; i++) most = fmaxf(most, shared[i]);
  __syncthreads();
  return most;
}
DEV float relative(float x, float scale) { return scale == 0.f ? 0.f : x / scale; }

KERNEL __launch_bounds__(256) encode8_blocks(const float* x, u8* codes, float* scales, u32 n, u32 isUnsigned) {
  __shared__ Maps map;
  __shared__ float shared[8];
  fill_map(map, isUnsigned);
  u32 i = blockIdx.x * 256 + threadIdx.x;
  float v = i < n ? x[i] : 0.f, scale = largest(v, shared);
  if (i < n) codes[i] = (u8)code8(map, relative(v, scale), isUnsigned);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
}
KERNEL __launch_bounds__(256) decode8_blocks(const u8* codes, const float* scales, float* out, u32 n, u32 isUnsigned) {
  u32 i = blockIdx.x * 256 + threadIdx.x;
  if (i >= n) return;
  float value = isUnsigned ? __uint_as_float(UNSIGNED_MAP[codes[i]]) : dynamic_value(codes[i]);
  out[i] = __fmul_rn(value, scales[blockIdx.x]);
}

// Adam (optim.cu) on 8-bit moments: decoded, stepped and encoded without leaving the block. Results may lie over operands.
KERNEL __launch_bounds__(256) adamw8(const float* p, const float* g, const u8* m, const float* mScales, const u8* v, const float* vScales,
             float* nextP, u8* nextM, float* nextMScales, u8* nextV, float* nextVScales, const float* multiplier,
             const float* rate, const float* step, float beta1, float rest1, float log1, float beta2, float rest2, float log2, float eps, float decay,
             u32 decoupled, u32 n) {
  __shared__ Maps first, second;
  __shared__ float shared[8];
  fill_map(first, 0);
  fill_map(second, 1);
  u32 i = blockIdx.x * 256 + threadIdx.x;
  float lr = *rate, t = *step, by = multiplier ? *multiplier : 1.f;
  float c1 = -expm1f(t * log1), c2 = sqrtf(-expm1f(t * log2)), keep = decoupled ? 1.f - lr * decay : 1.f;
  float M = 0.f, V = 0.f;
  if (i < n) {
    float P = p[i], x = g[i] * by;
    if (!decoupled) x += decay * P;
    M = beta1 * __fmul_rn(first.value[m[i]], mScales[blockIdx.x]) + rest1 * x;
    V = beta2 * __fmul_rn(second.value[v[i]], vScales[blockIdx.x]) + rest2 * x * x;
    nextP[i] = P * keep - (lr / c1 * M) / (sqrtf(V) / c2 + eps);
  }
  float ms = largest(M, shared), vs = largest(V, shared);
  if (i < n) {
    nextM[i] = (u8)code8(first, relative(M, ms), 0);
    nextV[i] = (u8)code8(second, relative(V, vs), 1);
  }
  if (threadIdx.x == 0) {
    nextMScales[blockIdx.x] = ms;
    nextVScales[blockIdx.x] = vs;
  }
}
