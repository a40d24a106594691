// A TensorFlow device over the CUDA driver API (tensorflow/c/experimental/stream_executor).
#include <cstdio>
#include <cstring>

#include "driver.h"
#include "tensorflow/c/experimental/stream_executor/stream_executor.h"

using namespace tunec;

// Opaque to TensorFlow, which hands them back.
struct SP_Stream_st { Stream s; };
struct SP_Event_st { Event e; };
struct SP_Timer_st { int unused; };

namespace {

Driver& d = device.call;

void report(TF_Status* status, const char* what, int code) {
  if (code == 0) return TF_SetStatus(status, TF_OK, "");
  char text[256];
  snprintf(text, sizeof text, "%s: %s (%d)", what, errorName(code), code);
  TF_SetStatus(status, TF_INTERNAL, text);
}

Address at(const SP_DeviceMemoryBase* m) { return reinterpret_cast<Address>(m->opaque); }

// Null tells TensorFlow that memory is exhausted.
void allocate(const SP_Device*, uint64_t size, int64_t, SP_DeviceMemoryBase* m) {
  enter();
  Address a = 0;
  if (size > 0 && d.cuMemAllocAsync(&a, size, device.stream) != 0) a = 0;
  if (a != 0) counts[kAllocated]++;
  m->struct_size = SP_DEVICE_MEMORY_BASE_STRUCT_SIZE;
  m->ext = nullptr;
  m->payload = 0;
  m->opaque = reinterpret_cast<void*>(a);
  m->size = a != 0 ? size : 0;
}

void deallocate(const SP_Device*, SP_DeviceMemoryBase* m) {
  if (m->opaque == nullptr) return;
  enter();
  counts[kFreed]++;
  d.cuMemFreeAsync(at(m), device.stream);
  m->opaque = nullptr;
  m->size = 0;
}

void* allocateHost(const SP_Device*, uint64_t size) {
  enter();
  void* p = nullptr;
  return d.cuMemHostAlloc(&p, size, 1) == 0 ? p : nullptr;
}

void deallocateHost(const SP_Device*, void* p) {
  enter();
  d.cuMemFreeHost(p);
}

TF_Bool stats(const SP_Device*, SP_AllocatorStats*) { return 0; }

TF_Bool usage(const SP_Device*, int64_t* free, int64_t* total) {
  enter();
  size_t f, t;
  if (d.cuMemGetInfo_v2(&f, &t) != 0) return 0;
  *free = static_cast<int64_t>(f);
  *total = static_cast<int64_t>(t);
  return 1;
}

// TensorFlow asks for several streams; they are one.
void createStream(const SP_Device*, SP_Stream* out, TF_Status* status) {
  *out = new SP_Stream_st{device.stream};
  report(status, "", 0);
}
void destroyStream(const SP_Device*, SP_Stream s) { delete s; }
void dependency(const SP_Device*, SP_Stream, SP_Stream, TF_Status* status) { report(status, "", 0); }

void streamStatus(const SP_Device*, SP_Stream s, TF_Status* status) {
  enter();
  int code = d.cuStreamQuery(s->s);
  report(status, "cuStreamQuery", code == kNotReady ? 0 : code);
}

constexpr unsigned kDisableTiming = 2;

void createEvent(const SP_Device*, SP_Event* out, TF_Status* status) {
  enter();
  *out = new SP_Event_st{nullptr};
  report(status, "cuEventCreate", d.cuEventCreate(&(*out)->e, kDisableTiming));
}
void destroyEvent(const SP_Device*, SP_Event e) {
  enter();
  d.cuEventDestroy_v2(e->e);
  delete e;
}
SE_EventStatus eventStatus(const SP_Device*, SP_Event e) {
  enter();
  int code = d.cuEventQuery(e->e);
  return code == 0 ? SE_EVENT_COMPLETE : code == kNotReady ? SE_EVENT_PENDING : SE_EVENT_ERROR;
}
void recordEvent(const SP_Device*, SP_Stream s, SP_Event e, TF_Status* status) {
  enter();
  report(status, "cuEventRecord", d.cuEventRecord(e->e, s->s));
}
void waitForEvent(const SP_Device* const, SP_Stream s, SP_Event e, TF_Status* const status) {
  enter();
  report(status, "cuStreamWaitEvent", d.cuStreamWaitEvent(s->s, e->e, 0));
}

void readback(const SP_Device*, SP_Stream s, void* to, const SP_DeviceMemoryBase* from, uint64_t n,
              TF_Status* status) {
  enter();
  counts[kReadbacks]++;
  report(status, "cuMemcpyDtoHAsync", d.cuMemcpyDtoHAsync_v2(to, at(from), n, s->s));
}
void upload(const SP_Device*, SP_Stream s, SP_DeviceMemoryBase* to, const void* from, uint64_t n,
            TF_Status* status) {
  enter();
  counts[kUploads]++;
  report(status, "cuMemcpyHtoDAsync", d.cuMemcpyHtoDAsync_v2(at(to), from, n, s->s));
}
void copy(const SP_Device*, SP_Stream s, SP_DeviceMemoryBase* to, const SP_DeviceMemoryBase* from,
          uint64_t n, TF_Status* status) {
  enter();
  counts[kCopies]++;
  report(status, "cuMemcpyDtoDAsync", d.cuMemcpyDtoDAsync_v2(at(to), at(from), n, s->s));
}

int finished(int code) { return code != 0 ? code : d.cuStreamSynchronize(device.stream); }

void readbackNow(const SP_Device*, void* to, const SP_DeviceMemoryBase* from, uint64_t n, TF_Status* status) {
  enter();
  counts[kReadbacks]++;
  report(status, "cuMemcpyDtoH", finished(d.cuMemcpyDtoHAsync_v2(to, at(from), n, device.stream)));
}
void uploadNow(const SP_Device*, SP_DeviceMemoryBase* to, const void* from, uint64_t n, TF_Status* status) {
  enter();
  counts[kUploads]++;
  report(status, "cuMemcpyHtoD", finished(d.cuMemcpyHtoDAsync_v2(at(to), from, n, device.stream)));
}
void copyNow(const SP_Device*, SP_DeviceMemoryBase* to, const SP_DeviceMemoryBase* from, uint64_t n,
             TF_Status* status) {
  enter();
  counts[kCopies]++;
  report(status, "cuMemcpyDtoD", finished(d.cuMemcpyDtoDAsync_v2(at(to), at(from), n, device.stream)));
}

void blockForEvent(const SP_Device*, SP_Event e, TF_Status* status) {
  enter();
  report(status, "cuEventSynchronize", d.cuEventSynchronize(e->e));
}
void blockUntilDone(const SP_Device*, SP_Stream s, TF_Status* status) {
  enter();
  report(status, "cuStreamSynchronize", d.cuStreamSynchronize(s->s));
}
void synchronizeAll(const SP_Device*, TF_Status* status) {
  enter();
  report(status, "cuCtxSynchronize", d.cuCtxSynchronize());
}

void fill8(const SP_Device*, SP_Stream s, SP_DeviceMemoryBase* m, uint8_t v, uint64_t n, TF_Status* status) {
  enter();
  report(status, "cuMemsetD8Async", d.cuMemsetD8Async(at(m), v, n, s->s));
}
void zero(const SP_Device* x, SP_Stream s, SP_DeviceMemoryBase* m, uint64_t n, TF_Status* status) {
  fill8(x, s, m, 0, n, status);
}
void fill32(const SP_Device*, SP_Stream s, SP_DeviceMemoryBase* m, uint32_t v, uint64_t n, TF_Status* status) {
  enter();
  report(status, "cuMemsetD32Async", d.cuMemsetD32Async(at(m), v, n / 4, s->s));
}

struct Callback {
  SE_StatusCallbackFn run;
  void* argument;
};
// Runs on a thread of the driver's, which must not call CUDA.
void called(void* p) {
  Callback* c = static_cast<Callback*>(p);
  TF_Status* status = TF_NewStatus();
  c->run(c->argument, status);
  TF_DeleteStatus(status);
  delete c;
}
TF_Bool hostCallback(const SP_Device*, SP_Stream s, SE_StatusCallbackFn f, void* argument) {
  enter();
  return d.cuLaunchHostFunc(s->s, called, new Callback{f, argument}) == 0;
}

// Every field is mandatory but those of unified memory: a missing one ends the process.
void createStreamExecutor(const SP_Platform*, SE_CreateStreamExecutorParams* p, TF_Status* status) {
  SP_StreamExecutor* e = p->stream_executor;
  memset(e, 0, sizeof *e);
  e->struct_size = SP_STREAMEXECUTOR_STRUCT_SIZE;
  e->allocate = allocate;
  e->deallocate = deallocate;
  e->host_memory_allocate = allocateHost;
  e->host_memory_deallocate = deallocateHost;
  e->get_allocator_stats = stats;
  e->device_memory_usage = usage;
  e->create_stream = createStream;
  e->destroy_stream = destroyStream;
  e->create_stream_dependency = dependency;
  e->get_stream_status = streamStatus;
  e->create_event = createEvent;
  e->destroy_event = destroyEvent;
  e->get_event_status = eventStatus;
  e->record_event = recordEvent;
  e->wait_for_event = waitForEvent;
  e->memcpy_dtoh = readback;
  e->memcpy_htod = upload;
  e->memcpy_dtod = copy;
  e->sync_memcpy_dtoh = readbackNow;
  e->sync_memcpy_htod = uploadNow;
  e->sync_memcpy_dtod = copyNow;
  e->block_host_for_event = blockForEvent;
  e->block_host_until_done = blockUntilDone;
  e->synchronize_all_activity = synchronizeAll;
  e->mem_zero = zero;
  e->memset = fill8;
  e->memset32 = fill32;
  e->host_callback = hostCallback;
  report(status, "", 0);
}

void createDevice(const SP_Platform*, SE_CreateDeviceParams* p, TF_Status* status) {
  SP_Device* x = p->device;
  x->struct_size = SP_DEVICE_STRUCT_SIZE;
  x->device_handle = nullptr;
  x->ordinal = p->ordinal;
  x->hardware_name = device.name;
  x->device_vendor = "NVIDIA";
  x->pci_bus_id = device.bus;
  report(status, "", 0);
}

void createDeviceFns(const SP_Platform*, SE_CreateDeviceFnsParams* p, TF_Status* status) {
  memset(p->device_fns, 0, sizeof *p->device_fns);
  p->device_fns->struct_size = SP_DEVICE_FNS_STRUCT_SIZE;
  report(status, "", 0);
}

// An error here would end the process: without a driver there are no devices, and TensorFlow's own CPU ops go on.
void deviceCount(const SP_Platform*, int* count, TF_Status* status) {
  *count = device.why[0] == 0 ? 1 : 0;
  report(status, "", 0);
}

uint64_t nanoseconds(SP_Timer) { return 0; }
void createTimerFns(const SP_Platform*, SP_TimerFns* t, TF_Status* status) {
  t->struct_size = SP_TIMER_FNS_STRUCT_SIZE;
  t->nanoseconds = nanoseconds;
  report(status, "", 0);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void SE_InitPlugin(SE_PlatformRegistrationParams* p,
                                                                     TF_Status* status) {
  SP_Platform* x = p->platform;
  x->struct_size = SP_PLATFORM_STRUCT_SIZE;
  x->name = "TUNEC";
  x->type = "GPU";
  x->supports_unified_memory = 0;
  // TensorFlow's own allocator would keep what is given back and double its regions: the driver's pool is exact.
  x->use_bfc_allocator = 0;
  x->force_memory_growth = 1;
  SP_PlatformFns* f = p->platform_fns;
  memset(f, 0, sizeof *f);
  f->struct_size = SP_PLATFORM_FNS_STRUCT_SIZE;
  f->get_device_count = deviceCount;
  f->create_device = createDevice;
  f->destroy_device = [](const SP_Platform*, SP_Device*) {};
  f->create_device_fns = createDeviceFns;
  f->destroy_device_fns = [](const SP_Platform*, SP_DeviceFns*) {};
  f->create_stream_executor = createStreamExecutor;
  f->destroy_stream_executor = [](const SP_Platform*, SP_StreamExecutor*) {};
  f->create_timer_fns = createTimerFns;
  f->destroy_timer_fns = [](const SP_Platform*, SP_TimerFns*) {};
  p->destroy_platform = [](SP_Platform*) {};
  p->destroy_platform_fns = [](SP_PlatformFns*) {};
  report(status, "", 0);
}

// What JavaScript asks of the plugin, before and beside TensorFlow.
#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT int tunec_open(const char* path, int index) { return open(path, index) ? 1 : 0; }
EXPORT const char* tunec_why() { return device.why; }
EXPORT uint64_t tunec_stream() { return reinterpret_cast<uint64_t>(device.stream); }
EXPORT uint64_t tunec_context() { return reinterpret_cast<uint64_t>(device.context); }
EXPORT int tunec_trim() { return trim() ? 1 : 0; }
EXPORT void tunec_counts(uint64_t* out) {
  for (int i = 0; i < kCounts; i++) out[i] = counts[i].load();
}
