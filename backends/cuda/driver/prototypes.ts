/** C types of the driver's functions, as cuda.h has them: handles and device addresses are u64, host memory is void *. */
import type { Prototypes } from './library.ts'

const u32 = 'uint32_t'
const u64 = 'uint64_t'
const i32 = 'int'
const mem = 'void *'
const size = 'size_t'
const result = (...args: ReadonlyArray<string>): readonly [string, ReadonlyArray<string>] => [
  'int',
  args,
]

export const driverPrototypes = {
  cuInit: result(u32),
  cuDriverGetVersion: result(mem),
  cuGetErrorName: result(i32, mem),
  cuGetErrorString: result(i32, mem),
  cuDeviceGet: result(mem, i32),
  cuDeviceGetCount: result(mem),
  cuDeviceGetName: result(mem, i32, i32),
  cuDeviceGetAttribute: result(mem, i32, i32),
  cuDeviceTotalMem_v2: result(mem, i32),
  cuDevicePrimaryCtxRetain: result(mem, i32),
  cuDevicePrimaryCtxRelease_v2: result(i32),
  cuCtxSetCurrent: result(u64),
  cuMemAlloc_v2: result(mem, size),
  cuMemFree_v2: result(u64),
  cuMemAllocHost_v2: result(mem, size),
  cuMemFreeHost: result(u64),
  cuMemGetInfo_v2: result(mem, mem),
  cuMemcpyHtoDAsync_v2: result(u64, mem, size, u64),
  cuMemcpyDtoHAsync_v2: result(mem, u64, size, u64),
  cuMemcpyDtoDAsync_v2: result(u64, u64, size, u64),
  cuMemsetD8Async: result(u64, 'uint8_t', size, u64),
  cuMemsetD32Async: result(u64, u32, size, u64),
  cuStreamCreate: result(mem, u32),
  cuStreamDestroy_v2: result(u64),
  cuStreamSynchronize: result(u64),
  cuEventCreate: result(mem, u32),
  cuEventDestroy_v2: result(u64),
  cuEventRecord: result(u64, u64),
  cuEventSynchronize: result(u64),
  cuEventElapsedTime: result(mem, u64, u64),
  cuModuleLoadData: result(mem, mem),
  cuModuleUnload: result(u64),
  cuModuleGetFunction: result(mem, u64, 'const char *'),
  cuFuncSetAttribute: result(u64, i32, i32),
  cuFuncGetParamInfo: result(u64, size, mem, mem),
  cuLaunchKernel: result(u64, u32, u32, u32, u32, u32, u32, u32, u64, mem, mem),
  cuLaunchKernelEx: result(mem, u64, mem, mem),
  cuTensorMapEncodeTiled: result(mem, i32, u32, u64, mem, mem, mem, mem, i32, i32, i32, i32),
  cuStreamBeginCapture_v2: result(u64, i32),
  cuStreamEndCapture: result(u64, mem),
  cuGraphGetNodes: result(u64, mem, mem),
  cuGraphInstantiateWithFlags: result(mem, u64, u64),
  cuGraphLaunch: result(u64, u64),
  cuGraphExecDestroy: result(u64),
  cuGraphDestroy: result(u64),
} satisfies Prototypes
