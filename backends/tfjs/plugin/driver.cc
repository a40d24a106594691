#include "driver.h"

#include <dlfcn.h>

#include <cstdio>

namespace tunec {

std::atomic<uint64_t> counts[kCounts];
Device device = {{}, nullptr, nullptr, nullptr, "", "", "it was not opened"};

namespace {

template <typename F>
bool find(void* library, const char* name, F* f) {
  *f = reinterpret_cast<F>(dlsym(library, name));
  if (*f == nullptr) snprintf(device.why, sizeof device.why, "the driver has no %s", name);
  return *f != nullptr;
}

bool findAll(void* library) {
  Driver& d = device.call;
#define FIND(name) find(library, #name, &d.name)
  return FIND(cuInit) && FIND(cuDeviceGet) && FIND(cuDeviceGetCount) && FIND(cuDeviceGetName) &&
         FIND(cuDeviceGetPCIBusId) && FIND(cuDevicePrimaryCtxRetain) && FIND(cuCtxSetCurrent) &&
         FIND(cuCtxSynchronize) && FIND(cuGetErrorName) && FIND(cuDeviceGetDefaultMemPool) &&
         FIND(cuMemPoolSetAttribute) && FIND(cuMemPoolTrimTo) && FIND(cuMemAllocAsync) && FIND(cuMemFreeAsync) &&
         FIND(cuMemHostAlloc) && FIND(cuMemFreeHost) && FIND(cuMemGetInfo_v2) &&
         FIND(cuMemcpyHtoDAsync_v2) && FIND(cuMemcpyDtoHAsync_v2) && FIND(cuMemcpyDtoDAsync_v2) &&
         FIND(cuMemsetD8Async) && FIND(cuMemsetD32Async) && FIND(cuStreamCreate) &&
         FIND(cuStreamSynchronize) && FIND(cuStreamQuery) && FIND(cuStreamWaitEvent) &&
         FIND(cuEventCreate) && FIND(cuEventDestroy_v2) && FIND(cuEventQuery) &&
         FIND(cuEventRecord) && FIND(cuEventSynchronize) && FIND(cuLaunchHostFunc) &&
         FIND(cuGraphLaunch);
#undef FIND
}

bool ok(const char* what, int code) {
  if (code != 0) snprintf(device.why, sizeof device.why, "%s: %s (%d)", what, errorName(code), code);
  return code == 0;
}

constexpr int kReleaseThreshold = 4;  // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
constexpr unsigned kNonBlocking = 1;

bool wake(int index) {
  Driver& d = device.call;
  int count = 0, ordinal = 0;
  if (!ok("cuInit", d.cuInit(0)) || !ok("cuDeviceGetCount", d.cuDeviceGetCount(&count))) return false;
  if (index < 0 || index >= count) {
    snprintf(device.why, sizeof device.why, "there is no GPU %d: the driver shows %d", index, count);
    return false;
  }
  if (!ok("cuDeviceGet", d.cuDeviceGet(&ordinal, index)) ||
      !ok("cuDevicePrimaryCtxRetain", d.cuDevicePrimaryCtxRetain(&device.context, ordinal)))
    return false;
  enter();
  d.cuDeviceGetName(device.name, sizeof device.name, ordinal);
  d.cuDeviceGetPCIBusId(device.bus, sizeof device.bus, ordinal);
  uint64_t keep = ~0ull;  // Memory is given back to the pool, not to the driver: taking it again costs nothing.
  return ok("cuStreamCreate", d.cuStreamCreate(&device.stream, kNonBlocking)) &&
         ok("cuDeviceGetDefaultMemPool", d.cuDeviceGetDefaultMemPool(&device.pool, ordinal)) &&
         ok("cuMemPoolSetAttribute", d.cuMemPoolSetAttribute(device.pool, kReleaseThreshold, &keep));
}

}  // namespace

const char* errorName(int code) {
  const char* name = nullptr;
  if (device.call.cuGetErrorName != nullptr) device.call.cuGetErrorName(code, &name);
  return name == nullptr ? "an error without a name" : name;
}

void enter() {
  static thread_local bool entered = false;
  if (entered) return;
  device.call.cuCtxSetCurrent(device.context);
  entered = true;
}

bool trim() {
  enter();
  // What is freed in the stream's order is the pool's once the stream is there.
  return device.call.cuStreamSynchronize(device.stream) == 0 && device.call.cuMemPoolTrimTo(device.pool, 0) == 0;
}

bool open(const char* path, int index) {
  void* library = dlopen(path, RTLD_NOW);
  if (library == nullptr) {
    snprintf(device.why, sizeof device.why, "%s", dlerror());
    return false;
  }
  if (!findAll(library) || !wake(index)) return false;
  device.why[0] = 0;
  return true;
}

}  // namespace tunec
