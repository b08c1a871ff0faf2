package driver

import "unsafe"

// Ptr is an address in the GPU's memory; 0 is none.
type Ptr uint64

// Add is the address n bytes further on.
func (p Ptr) Add(n int64) Ptr { return p + Ptr(n) }

// Handles of CUDA's own objects. The zero Stream is CUDA's legacy default stream; the other zero handles are none.
type (
	Stream         uintptr
	Event          uintptr
	ModuleHandle   uintptr
	FunctionHandle uintptr
	GraphHandle    uintptr // a graph as captured
	ExecHandle     uintptr // a graph ready to launch
)

// Driver is the driver API, call by call. [Device] and [Context] are made of it, and hold what is the same for every implementation:
// the thread, lost contexts, what an allocation lacked, the packing of arguments.
//
// An implementation does nothing beyond the call that a method's comment names. It is called on one thread at a time and is not asked
// twice whether it is ready. Handles and contexts are CUDA's own values, since libraries of CUDA such as cuBLASLt are given them too.
// Every error is an [*Error] with CUDA's code, or has one in its chain. Where the caller's memory is read or written by an asynchronous
// copy it is pinned, so that it stays where it is until the stream is done.
//
// An implementation that can capture graphs is a [Grapher] too, one that can tell what a kernel takes a [ParamSizer].
type Driver interface {
	// Init is cuInit.
	Init() error

	// Version is cuDriverGetVersion: 1000·major + 10·minor of the newest CUDA that the driver serves.
	Version() (int, error)

	// Count is cuDeviceGetCount.
	Count() (int, error)

	// Describe is cuDeviceGetName, cuDeviceTotalMem and cuDeviceGetAttribute. Info.Free stays unset.
	Describe(ordinal int) (Info, error)

	// Retain is cuDevicePrimaryCtxRetain and cuCtxSetCurrent: the primary context, current on the calling thread. Release is
	// cuDevicePrimaryCtxRelease; each Retain needs one.
	Retain(ordinal int) error
	Release(ordinal int) error

	// Memory is cuMemGetInfo.
	Memory() (free, total int64, err error)

	// Alloc and Free are cuMemAlloc and cuMemFree.
	Alloc(bytes int64) (Ptr, error)
	Free(p Ptr) error

	// AllocHost and FreeHost are cuMemAllocHost and cuMemFreeHost: pinned memory of the host.
	AllocHost(bytes int64) (unsafe.Pointer, error)
	FreeHost(p unsafe.Pointer) error

	// ToDevice, ToHost and OnDevice are cuMemcpyHtoDAsync, cuMemcpyDtoHAsync and cuMemcpyDtoDAsync.
	ToDevice(dst Ptr, src unsafe.Pointer, bytes int64, s Stream) error
	ToHost(dst unsafe.Pointer, src Ptr, bytes int64, s Stream) error
	OnDevice(dst, src Ptr, bytes int64, s Stream) error

	// Set8 and Set32 are cuMemsetD8Async and cuMemsetD32Async; n counts elements.
	Set8(dst Ptr, value uint8, n int64, s Stream) error
	Set32(dst Ptr, value uint32, n int64, s Stream) error

	// NewStream is cuStreamCreate with CU_STREAM_NON_BLOCKING; the others are cuStreamDestroy, cuStreamSynchronize and
	// cuStreamWaitEvent.
	NewStream() (Stream, error)
	DestroyStream(s Stream) error
	SyncStream(s Stream) error
	WaitEvent(s Stream, e Event) error

	// SyncContext is cuCtxSynchronize.
	SyncContext() error

	// NewEvent is cuEventCreate, with CU_EVENT_DISABLE_TIMING where timing is false; the others are cuEventDestroy, cuEventRecord,
	// cuEventSynchronize and cuEventElapsedTime (in ms).
	NewEvent(timing bool) (Event, error)
	DestroyEvent(e Event) error
	RecordEvent(e Event, s Stream) error
	SyncEvent(e Event) error
	Elapsed(from, to Event) (float32, error)

	// LoadModule is cuModuleLoadDataEx of PTX text or a cubin; log is what the compiler said, also where it fails.
	LoadModule(image []byte) (m ModuleHandle, log string, err error)

	// UnloadModule and Function are cuModuleUnload and cuModuleGetFunction.
	UnloadModule(m ModuleHandle) error
	Function(m ModuleHandle, name string) (FunctionHandle, error)

	// Attribute and SetAttribute are cuFuncGetAttribute and cuFuncSetAttribute.
	Attribute(f FunctionHandle, a FunctionAttribute) (int, error)
	SetAttribute(f FunctionHandle, a FunctionAttribute, value int) error

	// Launch is cuLaunchKernel. Each element of params points to one argument. The array and the arguments lie in memory that is
	// not Go's.
	Launch(f FunctionHandle, l Launch, params []unsafe.Pointer) error
}

// Grapher is a [Driver] that can record what a stream is given, and replay it.
type Grapher interface {
	// BeginCapture is cuStreamBeginCapture in thread-local mode, EndCapture cuStreamEndCapture.
	BeginCapture(s Stream) error
	EndCapture(s Stream) (GraphHandle, error)

	// Nodes is cuGraphGetNodes, for their number.
	Nodes(g GraphHandle) (int, error)

	// Instantiate is cuGraphInstantiateWithFlags, LaunchGraph cuGraphLaunch; the others are cuGraphDestroy and cuGraphExecDestroy.
	Instantiate(g GraphHandle) (ExecHandle, error)
	LaunchGraph(e ExecHandle, s Stream) error
	DestroyGraph(g GraphHandle) error
	DestroyExec(e ExecHandle) error
}

// ParamSizer is a [Driver] that can tell the sizes in bytes of a kernel's parameters. known is false where this machine's driver is too
// old to tell (before CUDA 12.4).
type ParamSizer interface {
	ParamSizes(f FunctionHandle) (sizes []int, known bool, err error)
}

// FunctionAttribute is a CUfunction_attribute.
type FunctionAttribute int

// The attributes that are used.
const (
	MaxThreadsPerBlock FunctionAttribute = 0
	StaticSharedBytes  FunctionAttribute = 1
	LocalBytes         FunctionAttribute = 3 // per thread: registers that did not suffice
	Registers          FunctionAttribute = 4 // per thread
	PTXVersion         FunctionAttribute = 5 // 10·major + minor
	BinaryVersion      FunctionAttribute = 6 // compute capability of the machine code, 10·major + minor
	MaxDynamicShared   FunctionAttribute = 8 // the only one that is set: what a launch may ask for, in bytes
)

// Info describes a GPU.
type Info struct {
	Ordinal        int
	Name           string
	Major, Minor   int   // compute capability
	SMs            int   // multiprocessors
	Total          int64 // memory in bytes
	Free           int64 // memory in bytes that no process holds; only where [Devices] filled it in
	L2             int64 // bytes of the second level cache
	SharedPerBlock int64 // bytes of shared memory that a block can have when its launch asks for it
	Err            error // from [Devices]: why no context can be made on it, and so Free is unknown
}
