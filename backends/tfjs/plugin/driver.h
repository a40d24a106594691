// The CUDA driver API as far as the device needs it, found at run time: building takes no toolkit, running no library but the driver's.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tunec {

using Address = uint64_t;
using Stream = void*;
using Event = void*;

struct Driver {
  int (*cuInit)(unsigned);
  int (*cuDeviceGet)(int*, int);
  int (*cuDeviceGetCount)(int*);
  int (*cuDeviceGetName)(char*, int, int);
  int (*cuDeviceGetPCIBusId)(char*, int, int);
  int (*cuDevicePrimaryCtxRetain)(void**, int);
  int (*cuCtxSetCurrent)(void*);
  int (*cuCtxSynchronize)();
  int (*cuGetErrorName)(int, const char**);
  int (*cuDeviceGetDefaultMemPool)(void**, int);
  int (*cuMemPoolSetAttribute)(void*, int, void*);
  int (*cuMemPoolTrimTo)(void*, size_t);
  int (*cuMemAllocAsync)(Address*, size_t, Stream);
  int (*cuMemFreeAsync)(Address, Stream);
  int (*cuMemHostAlloc)(void**, size_t, unsigned);
  int (*cuMemFreeHost)(void*);
  int (*cuMemGetInfo_v2)(size_t*, size_t*);
  int (*cuMemcpyHtoDAsync_v2)(Address, const void*, size_t, Stream);
  int (*cuMemcpyDtoHAsync_v2)(void*, Address, size_t, Stream);
  int (*cuMemcpyDtoDAsync_v2)(Address, Address, size_t, Stream);
  int (*cuMemsetD8Async)(Address, uint8_t, size_t, Stream);
  int (*cuMemsetD32Async)(Address, uint32_t, size_t, Stream);
  int (*cuStreamCreate)(Stream*, unsigned);
  int (*cuStreamSynchronize)(Stream);
  int (*cuStreamQuery)(Stream);
  int (*cuStreamWaitEvent)(Stream, Event, unsigned);
  int (*cuEventCreate)(Event*, unsigned);
  int (*cuEventDestroy_v2)(Event);
  int (*cuEventQuery)(Event);
  int (*cuEventRecord)(Event, Stream);
  int (*cuEventSynchronize)(Event);
  int (*cuLaunchHostFunc)(Stream, void (*)(void*), void*);
  int (*cuGraphLaunch)(void*, Stream);
};

constexpr int kNotReady = 600;

// What happened on the device: how anyone knows that nothing fell back to the CPU.
enum Count { kLaunches, kUploads, kReadbacks, kCopies, kAllocated, kFreed, kCounts };
extern std::atomic<uint64_t> counts[kCounts];

// The one device of the process. `why` is empty where it works.
struct Device {
  Driver call;
  void* context;
  // One stream for everything: memory that is given back in its order is safe to take again in its order.
  Stream stream;
  void* pool;
  char name[256];
  char bus[32];
  char why[512];
};
extern Device device;

// Opens the driver at a path and wakes one GPU. False: `device.why` says why not.
bool open(const char* path, int index);
// Gives what the pool has over back to the driver. False: it could not.
bool trim();
// Makes the device the one that this thread's calls go to: TensorFlow calls from several threads.
void enter();
const char* errorName(int code);

}  // namespace tunec
