// Custom ops in the stable C kernel API: the arena of a compiled plan as one tensor, its functions as launches on TensorFlow's stream.
#include <cstdio>
#include <memory>
#include <vector>

#include "driver.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

using namespace tunec;

namespace {

using Shape = std::vector<int64_t>;

// One call of a kernel: what it took is given back, an error is told once.
class Call {
 public:
  explicit Call(TF_OpKernelContext* c) : context_(c), status_(TF_NewStatus()) { enter(); }
  ~Call() {
    for (TF_Tensor* t : held_) TF_DeleteTensor(t);
    TF_DeleteStatus(status_);
  }
  bool failed() const { return failed_; }
  TF_Tensor* input(int i) {
    TF_Tensor* t = nullptr;
    TF_GetInput(context_, i, &t, status_);
    return held(t);
  }
  TF_Tensor* output(int i, TF_DataType dtype, const Shape& shape) {
    size_t n = TF_DataTypeSize(dtype);
    for (int64_t x : shape) n *= static_cast<size_t>(x);
    return held(TF_AllocateOutput(context_, i, dtype, shape.data(), static_cast<int>(shape.size()), n, status_));
  }
  void check(const char* what, int code) {
    if (code == 0) return;
    char text[256];
    snprintf(text, sizeof text, "%s: %s (%d)", what, errorName(code), code);
    fail(TF_INTERNAL, text);
  }
  void fail(TF_Code code, const char* text) {
    if (failed_) return;
    failed_ = true;
    TF_SetStatus(status_, code, text);
    TF_OpKernelContext_Failure(context_, status_);
  }
  // Whether n bytes from `offset` lie within a tensor.
  bool within(TF_Tensor* t, int64_t offset, size_t n) {
    bool fits = offset >= 0 && static_cast<size_t>(offset) + n <= TF_TensorByteSize(t);
    if (!fits) fail(TF_OUT_OF_RANGE, "the bytes lie outside the arena");
    return fits;
  }

 private:
  TF_Tensor* held(TF_Tensor* t) {
    if (TF_GetCode(status_) != TF_OK) {
      if (!failed_) TF_OpKernelContext_Failure(context_, status_);
      failed_ = true;
      return nullptr;
    }
    held_.push_back(t);
    return t;
  }
  TF_OpKernelContext* context_;
  TF_Status* status_;
  std::vector<TF_Tensor*> held_;
  bool failed_ = false;
};

Address address(TF_Tensor* t) { return reinterpret_cast<Address>(TF_TensorData(t)); }

struct Attributes {
  Shape dims;
  int64_t offset = 0;
  int64_t graph = 0;
  TF_DataType dtype = TF_FLOAT;
};

// Reads those of the attributes that the op has.
template <bool kDims, bool kDtype, bool kOffset, bool kGraph>
void* create(TF_OpKernelConstruction* k) {
  auto a = std::make_unique<Attributes>();
  TF_Status* s = TF_NewStatus();
  if (kDims) {
    int32_t count = 0, bytes = 0;
    TF_OpKernelConstruction_GetAttrSize(k, "dims", &count, &bytes, s);
    a->dims.resize(count > 0 ? count : 0);
    if (TF_GetCode(s) == TF_OK && count > 0)
      TF_OpKernelConstruction_GetAttrInt64List(k, "dims", a->dims.data(), count, s);
  }
  if (kDtype && TF_GetCode(s) == TF_OK) TF_OpKernelConstruction_GetAttrType(k, "dtype", &a->dtype, s);
  if (kOffset && TF_GetCode(s) == TF_OK) TF_OpKernelConstruction_GetAttrInt64(k, "offset", &a->offset, s);
  if (kGraph && TF_GetCode(s) == TF_OK) TF_OpKernelConstruction_GetAttrInt64(k, "graph", &a->graph, s);
  if (TF_GetCode(s) != TF_OK) TF_OpKernelConstruction_Failure(k, s);
  TF_DeleteStatus(s);
  return a.release();
}
void destroy(void* a) { delete static_cast<Attributes*>(a); }

// Device memory that nothing is written to.
void arena(void* k, TF_OpKernelContext* c) {
  auto* a = static_cast<Attributes*>(k);
  Call call(c);
  call.output(0, a->dtype, a->dims);
}

void addressOf(void*, TF_OpKernelContext* c) {
  Call call(c);
  TF_Tensor* x = call.input(0);
  if (call.failed()) return;
  TF_Tensor* y = call.output(0, TF_INT64, {1});
  if (!call.failed()) *static_cast<int64_t*>(TF_TensorData(y)) = static_cast<int64_t>(address(x));
}

void write(void* k, TF_OpKernelContext* c) {
  auto* a = static_cast<Attributes*>(k);
  Call call(c);
  TF_Tensor* to = call.input(0);
  TF_Tensor* x = call.input(1);
  if (call.failed() || !call.within(to, a->offset, TF_TensorByteSize(x))) return;
  counts[kCopies]++;
  call.check("write", device.call.cuMemcpyDtoDAsync_v2(address(to) + a->offset, address(x), TF_TensorByteSize(x), device.stream));
}

void read(void* k, TF_OpKernelContext* c) {
  auto* a = static_cast<Attributes*>(k);
  Call call(c);
  TF_Tensor* from = call.input(0);
  if (call.failed()) return;
  TF_Tensor* y = call.output(0, a->dtype, a->dims);
  if (call.failed() || !call.within(from, a->offset, TF_TensorByteSize(y))) return;
  counts[kCopies]++;
  call.check("read", device.call.cuMemcpyDtoDAsync_v2(address(y), address(from) + a->offset, TF_TensorByteSize(y), device.stream));
}

void run(void* k, TF_OpKernelContext* c) {
  auto* a = static_cast<Attributes*>(k);
  Call call(c);
  counts[kLaunches]++;
  call.check("cuGraphLaunch", device.call.cuGraphLaunch(reinterpret_cast<void*>(a->graph), device.stream));
}

void unknownShape(TF_ShapeInferenceContext* c, TF_Status* s) { TF_ShapeInferenceContextSetUnknownShape(c, s); }
void noOutput(TF_ShapeInferenceContext*, TF_Status* s) { TF_SetStatus(s, TF_OK, ""); }

using Texts = std::vector<const char*>;

void define(const char* name, const Texts& attrs, const Texts& inputs, const Texts& outputs) {
  TF_OpDefinitionBuilder* b = TF_NewOpDefinitionBuilder(name);
  for (auto a : attrs) TF_OpDefinitionBuilderAddAttr(b, a);
  for (auto i : inputs) TF_OpDefinitionBuilderAddInput(b, i);
  for (auto o : outputs) TF_OpDefinitionBuilderAddOutput(b, o);
  // Each call counts: none is merged with another or left out.
  TF_OpDefinitionBuilderSetIsStateful(b, true);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(b, outputs.empty() ? noOutput : unknownShape);
  TF_Status* s = TF_NewStatus();
  TF_RegisterOpDefinition(b, s);
  if (TF_GetCode(s) != TF_OK) fprintf(stderr, "tunec: op %s: %s\n", name, TF_Message(s));
  TF_DeleteStatus(s);
}

// For "GPU" alone: where there is none, TensorFlow says so instead of running something else.
void implement(const char* op, void* (*make)(TF_OpKernelConstruction*), void (*compute)(void*, TF_OpKernelContext*),
               const Texts& host = {}) {
  TF_KernelBuilder* b = TF_NewKernelBuilder(op, "GPU", make, compute, make == nullptr ? nullptr : destroy);
  for (auto h : host) TF_KernelBuilder_HostMemory(b, h);
  TF_Status* s = TF_NewStatus();
  TF_RegisterKernelBuilder(op, b, s);
  if (TF_GetCode(s) != TF_OK) fprintf(stderr, "tunec: kernel %s: %s\n", op, TF_Message(s));
  TF_DeleteStatus(s);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void TF_InitKernel() {
  define("TunecArena", {"dims: list(int)", "dtype: type"}, {}, {"y: dtype"});
  define("TunecAddress", {"T: type"}, {"x: T"}, {"y: int64"});
  define("TunecWrite", {"T: type", "offset: int"}, {"arena: float", "x: T"}, {});
  define("TunecRead", {"dims: list(int)", "dtype: type", "offset: int"}, {"arena: float"}, {"y: dtype"});
  define("TunecRun", {"graph: int"}, {"arena: float"}, {});
  implement("TunecArena", create<true, true, false, false>, arena);
  implement("TunecAddress", nullptr, addressOf, {"y"});
  implement("TunecWrite", create<false, false, true, false>, write);
  implement("TunecRead", create<true, true, true, false>, read);
  implement("TunecRun", create<false, false, false, true>, run);
}
