package driver

import (
	"bytes"
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

// Load finds libcuda and is its driver API. The error is that of [Library].Err; [Find] tells where was looked.
func Load() (Driver, error) { return Find().Driver() }

// Driver is the driver API of the libcuda that was found. The error is CUDA.Err, or names a function that the library lacks.
func (f Found) Driver() (Driver, error) {
	if f.CUDA.Err != nil {
		return nil, f.CUDA.Err
	}
	n := &native{so: f.CUDA.so}
	for i, name := range symbols {
		at, err := f.CUDA.Sym(name)
		if err != nil && !optional[function(i)] {
			return nil, fmt.Errorf("libcuda %s (%s) lacks a function: %w", f.CUDA.VersionText(), f.CUDA.Path, err)
		}
		n.fn[i] = at
	}
	return n, nil
}

// native is libcuda opened at run time.
type native struct {
	so *dynlib.Library
	fn [numFunctions]uintptr
}

var (
	_ Driver     = (*native)(nil)
	_ Grapher    = (*native)(nil)
	_ ParamSizer = (*native)(nil)
)

// function is a function of the driver API.
type function int

const (
	fnInit function = iota
	fnDriverGetVersion
	fnDeviceGetCount
	fnDeviceGet
	fnDeviceGetName
	fnDeviceTotalMem
	fnDeviceGetAttribute
	fnPrimaryCtxRetain
	fnPrimaryCtxRelease
	fnCtxSetCurrent
	fnCtxSynchronize
	fnMemGetInfo
	fnMemAlloc
	fnMemFree
	fnMemAllocHost
	fnMemFreeHost
	fnMemcpyHtoDAsync
	fnMemcpyDtoHAsync
	fnMemcpyDtoDAsync
	fnMemsetD8Async
	fnMemsetD32Async
	fnStreamCreate
	fnStreamDestroy
	fnStreamSynchronize
	fnStreamWaitEvent
	fnStreamBeginCapture
	fnStreamEndCapture
	fnEventCreate
	fnEventDestroy
	fnEventRecord
	fnEventSynchronize
	fnEventElapsedTime
	fnModuleLoadDataEx
	fnModuleUnload
	fnModuleGetFunction
	fnFuncGetAttribute
	fnFuncSetAttribute
	fnFuncGetParamInfo
	fnLaunchKernel
	fnGraphGetNodes
	fnGraphInstantiate
	fnGraphLaunch
	fnGraphDestroy
	fnGraphExecDestroy
	fnGetErrorName
	fnGetErrorString

	numFunctions
)

// symbols are the names in the library: those that cuda.h of CUDA 12 and 13 maps the functions' plain names to, where the stream 0 is
// the legacy default stream. All but the optional ones are in every libcuda since CUDA 11.4.
var symbols = [numFunctions]string{
	fnInit:               "cuInit",
	fnDriverGetVersion:   "cuDriverGetVersion",
	fnDeviceGetCount:     "cuDeviceGetCount",
	fnDeviceGet:          "cuDeviceGet",
	fnDeviceGetName:      "cuDeviceGetName",
	fnDeviceTotalMem:     "cuDeviceTotalMem_v2",
	fnDeviceGetAttribute: "cuDeviceGetAttribute",
	fnPrimaryCtxRetain:   "cuDevicePrimaryCtxRetain",
	fnPrimaryCtxRelease:  "cuDevicePrimaryCtxRelease_v2",
	fnCtxSetCurrent:      "cuCtxSetCurrent",
	fnCtxSynchronize:     "cuCtxSynchronize",
	fnMemGetInfo:         "cuMemGetInfo_v2",
	fnMemAlloc:           "cuMemAlloc_v2",
	fnMemFree:            "cuMemFree_v2",
	fnMemAllocHost:       "cuMemAllocHost_v2",
	fnMemFreeHost:        "cuMemFreeHost",
	fnMemcpyHtoDAsync:    "cuMemcpyHtoDAsync_v2",
	fnMemcpyDtoHAsync:    "cuMemcpyDtoHAsync_v2",
	fnMemcpyDtoDAsync:    "cuMemcpyDtoDAsync_v2",
	fnMemsetD8Async:      "cuMemsetD8Async",
	fnMemsetD32Async:     "cuMemsetD32Async",
	fnStreamCreate:       "cuStreamCreate",
	fnStreamDestroy:      "cuStreamDestroy_v2",
	fnStreamSynchronize:  "cuStreamSynchronize",
	fnStreamWaitEvent:    "cuStreamWaitEvent",
	fnStreamBeginCapture: "cuStreamBeginCapture_v2",
	fnStreamEndCapture:   "cuStreamEndCapture",
	fnEventCreate:        "cuEventCreate",
	fnEventDestroy:       "cuEventDestroy_v2",
	fnEventRecord:        "cuEventRecord",
	fnEventSynchronize:   "cuEventSynchronize",
	fnEventElapsedTime:   "cuEventElapsedTime",
	fnModuleLoadDataEx:   "cuModuleLoadDataEx",
	fnModuleUnload:       "cuModuleUnload",
	fnModuleGetFunction:  "cuModuleGetFunction",
	fnFuncGetAttribute:   "cuFuncGetAttribute",
	fnFuncSetAttribute:   "cuFuncSetAttribute",
	fnFuncGetParamInfo:   "cuFuncGetParamInfo",
	fnLaunchKernel:       "cuLaunchKernel",
	fnGraphGetNodes:      "cuGraphGetNodes",
	fnGraphInstantiate:   "cuGraphInstantiateWithFlags",
	fnGraphLaunch:        "cuGraphLaunch",
	fnGraphDestroy:       "cuGraphDestroy",
	fnGraphExecDestroy:   "cuGraphExecDestroy",
	fnGetErrorName:       "cuGetErrorName",
	fnGetErrorString:     "cuGetErrorString",
}

// optional functions came later than the oldest CUDA that serves.
var optional = [numFunctions]bool{fnFuncGetParamInfo: true}

// Constants of cuda.h.
const (
	attrSMs         = 16 // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
	attrL2          = 38 // CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
	attrMajor       = 75 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
	attrMinor       = 76 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
	attrSharedOptin = 97 // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

	streamNonBlocking  = 1 // CU_STREAM_NON_BLOCKING
	eventDisableTiming = 2 // CU_EVENT_DISABLE_TIMING
	captureThreadLocal = 1 // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

	jitInfoLog      = 3 // CU_JIT_INFO_LOG_BUFFER
	jitInfoLogSize  = 4 // CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES
	jitErrorLog     = 5 // CU_JIT_ERROR_LOG_BUFFER
	jitErrorLogSize = 6 // CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
)

// call calls a function. See [dynlib.Call] for what the arguments may be.
//
//go:uintptrescapes
func (n *native) call(f function, args ...uintptr) error {
	if code := int32(dynlib.Call(n.fn[f], args...)); code != 0 {
		return nativeError(n.so, symbols[f], code)
	}
	return nil
}

// nativeError is a result of a function of so, in CUDA's words.
func nativeError(so *dynlib.Library, call string, code int32) *Error {
	e := &Error{Call: plain(call), Code: int(code)}
	say := func(f function) string {
		at, err := so.Sym(symbols[f])
		if err != nil {
			return ""
		}
		var text uintptr
		if int32(dynlib.Call(at, uintptr(code), uintptr(unsafe.Pointer(&text)))) != 0 {
			return ""
		}
		return dynlib.String(text)
	}
	e.Name, e.Text = say(fnGetErrorName), say(fnGetErrorString)
	return e
}

// plain is a function's name without the version of its binary interface.
func plain(symbol string) string {
	if len(symbol) > 3 && symbol[len(symbol)-3:len(symbol)-1] == "_v" {
		return symbol[:len(symbol)-3]
	}
	return symbol
}

func (n *native) Init() error { return n.call(fnInit, 0) }

func (n *native) Version() (int, error) {
	var v int32
	err := n.call(fnDriverGetVersion, uintptr(unsafe.Pointer(&v)))
	return int(v), err
}

func (n *native) Count() (int, error) {
	var v int32
	err := n.call(fnDeviceGetCount, uintptr(unsafe.Pointer(&v)))
	return int(v), err
}

// device is the CUdevice of an ordinal.
func (n *native) device(ordinal int) (uintptr, error) {
	var dev int32
	err := n.call(fnDeviceGet, uintptr(unsafe.Pointer(&dev)), uintptr(ordinal))
	return uintptr(dev), err
}

func (n *native) Describe(ordinal int) (Info, error) {
	dev, err := n.device(ordinal)
	if err != nil {
		return Info{}, err
	}
	info := Info{Ordinal: ordinal}
	name := make([]byte, 256)
	if err := n.call(fnDeviceGetName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)), dev); err != nil {
		return Info{}, err
	}
	info.Name = text(name)
	var total uint64
	if err := n.call(fnDeviceTotalMem, uintptr(unsafe.Pointer(&total)), dev); err != nil {
		return Info{}, err
	}
	info.Total = int64(total)
	attribute := func(a uintptr) (v int32) {
		if err == nil {
			err = n.call(fnDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), a, dev)
		}
		return v
	}
	info.Major, info.Minor, info.SMs = int(attribute(attrMajor)), int(attribute(attrMinor)), int(attribute(attrSMs))
	info.L2, info.SharedPerBlock = int64(attribute(attrL2)), int64(attribute(attrSharedOptin))
	return info, err
}

// text is what stands before the first zero byte.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (n *native) Retain(ordinal int) error {
	dev, err := n.device(ordinal)
	if err != nil {
		return err
	}
	var ctx uintptr
	if err := n.call(fnPrimaryCtxRetain, uintptr(unsafe.Pointer(&ctx)), dev); err != nil {
		return err
	}
	if err := n.call(fnCtxSetCurrent, ctx); err != nil {
		_ = n.call(fnPrimaryCtxRelease, dev)
		return err
	}
	return nil
}

func (n *native) Release(ordinal int) error {
	dev, err := n.device(ordinal)
	if err != nil {
		return err
	}
	return n.call(fnPrimaryCtxRelease, dev)
}

func (n *native) Memory() (free, total int64, err error) {
	var f, t uint64
	err = n.call(fnMemGetInfo, uintptr(unsafe.Pointer(&f)), uintptr(unsafe.Pointer(&t)))
	return int64(f), int64(t), err
}

func (n *native) Alloc(size int64) (Ptr, error) {
	var p uint64
	err := n.call(fnMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(size))
	return Ptr(p), err
}

func (n *native) Free(p Ptr) error { return n.call(fnMemFree, uintptr(p)) }

func (n *native) AllocHost(size int64) (unsafe.Pointer, error) {
	var p uintptr
	if err := n.call(fnMemAllocHost, uintptr(unsafe.Pointer(&p)), uintptr(size)); err != nil {
		return nil, err
	}
	return dynlib.At(p), nil
}

func (n *native) FreeHost(p unsafe.Pointer) error { return n.call(fnMemFreeHost, uintptr(p)) }

func (n *native) ToDevice(dst Ptr, src unsafe.Pointer, size int64, s Stream) error {
	return n.call(fnMemcpyHtoDAsync, uintptr(dst), uintptr(src), uintptr(size), uintptr(s))
}

func (n *native) ToHost(dst unsafe.Pointer, src Ptr, size int64, s Stream) error {
	return n.call(fnMemcpyDtoHAsync, uintptr(dst), uintptr(src), uintptr(size), uintptr(s))
}

func (n *native) OnDevice(dst, src Ptr, size int64, s Stream) error {
	return n.call(fnMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(size), uintptr(s))
}

func (n *native) Set8(dst Ptr, value uint8, count int64, s Stream) error {
	return n.call(fnMemsetD8Async, uintptr(dst), uintptr(value), uintptr(count), uintptr(s))
}

func (n *native) Set32(dst Ptr, value uint32, count int64, s Stream) error {
	return n.call(fnMemsetD32Async, uintptr(dst), uintptr(value), uintptr(count), uintptr(s))
}

func (n *native) NewStream() (Stream, error) {
	var s uintptr
	err := n.call(fnStreamCreate, uintptr(unsafe.Pointer(&s)), streamNonBlocking)
	return Stream(s), err
}

func (n *native) DestroyStream(s Stream) error { return n.call(fnStreamDestroy, uintptr(s)) }

func (n *native) SyncStream(s Stream) error { return n.call(fnStreamSynchronize, uintptr(s)) }

func (n *native) WaitEvent(s Stream, e Event) error {
	return n.call(fnStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

func (n *native) SyncContext() error { return n.call(fnCtxSynchronize) }

func (n *native) NewEvent(timing bool) (Event, error) {
	flags := uintptr(eventDisableTiming)
	if timing {
		flags = 0
	}
	var e uintptr
	err := n.call(fnEventCreate, uintptr(unsafe.Pointer(&e)), flags)
	return Event(e), err
}

func (n *native) DestroyEvent(e Event) error { return n.call(fnEventDestroy, uintptr(e)) }

func (n *native) RecordEvent(e Event, s Stream) error {
	return n.call(fnEventRecord, uintptr(e), uintptr(s))
}

func (n *native) SyncEvent(e Event) error { return n.call(fnEventSynchronize, uintptr(e)) }

func (n *native) Elapsed(from, to Event) (float32, error) {
	var ms float32
	err := n.call(fnEventElapsedTime, uintptr(unsafe.Pointer(&ms)), uintptr(from), uintptr(to))
	return ms, err
}

func (n *native) LoadModule(image []byte) (ModuleHandle, string, error) {
	// The logs are reached through an array, so they must be pinned.
	var pin goruntime.Pinner
	defer pin.Unpin()
	info, errs := make([]byte, 16<<10), make([]byte, 16<<10)
	pin.Pin(&info[0])
	pin.Pin(&errs[0])
	options := [4]int32{jitInfoLog, jitInfoLogSize, jitErrorLog, jitErrorLogSize}
	values := [4]uintptr{uintptr(unsafe.Pointer(&info[0])), uintptr(len(info)), uintptr(unsafe.Pointer(&errs[0])), uintptr(len(errs))}
	var m uintptr
	err := n.call(fnModuleLoadDataEx, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&image[0])), uintptr(len(options)),
		uintptr(unsafe.Pointer(&options[0])), uintptr(unsafe.Pointer(&values[0])))
	log := text(errs)
	if log == "" {
		log = text(info)
	}
	return ModuleHandle(m), log, err
}

func (n *native) UnloadModule(m ModuleHandle) error { return n.call(fnModuleUnload, uintptr(m)) }

func (n *native) Function(m ModuleHandle, name string) (FunctionHandle, error) {
	c := append([]byte(name), 0)
	var f uintptr
	err := n.call(fnModuleGetFunction, uintptr(unsafe.Pointer(&f)), uintptr(m), uintptr(unsafe.Pointer(&c[0])))
	return FunctionHandle(f), err
}

func (n *native) Attribute(f FunctionHandle, a FunctionAttribute) (int, error) {
	var v int32
	err := n.call(fnFuncGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a), uintptr(f))
	return int(v), err
}

func (n *native) SetAttribute(f FunctionHandle, a FunctionAttribute, value int) error {
	return n.call(fnFuncSetAttribute, uintptr(f), uintptr(a), uintptr(value))
}

func (n *native) ParamSizes(f FunctionHandle) ([]int, bool, error) {
	if n.fn[fnFuncGetParamInfo] == 0 {
		return nil, false, nil
	}
	sizes := []int{}
	for i := range maxArgs {
		var offset, size uint64
		err := n.call(fnFuncGetParamInfo, uintptr(f), uintptr(i), uintptr(unsafe.Pointer(&offset)), uintptr(unsafe.Pointer(&size)))
		if e, ok := err.(*Error); ok && e.Code == CodeInvalidValue {
			break // the index after the last parameter
		}
		if err != nil {
			return nil, false, err
		}
		sizes = append(sizes, int(size))
	}
	return sizes, true, nil
}

func (n *native) Launch(f FunctionHandle, l Launch, params []unsafe.Pointer) error {
	var first uintptr
	if len(params) > 0 {
		first = uintptr(unsafe.Pointer(&params[0]))
	}
	return n.call(fnLaunchKernel, uintptr(f),
		uintptr(l.Grid[0]), uintptr(l.Grid[1]), uintptr(l.Grid[2]),
		uintptr(l.Block[0]), uintptr(l.Block[1]), uintptr(l.Block[2]),
		uintptr(l.Shared), uintptr(l.Stream), first, 0)
}

func (n *native) BeginCapture(s Stream) error {
	return n.call(fnStreamBeginCapture, uintptr(s), captureThreadLocal)
}

func (n *native) EndCapture(s Stream) (GraphHandle, error) {
	var g uintptr
	err := n.call(fnStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&g)))
	return GraphHandle(g), err
}

func (n *native) Nodes(g GraphHandle) (int, error) {
	var count uint64
	err := n.call(fnGraphGetNodes, uintptr(g), 0, uintptr(unsafe.Pointer(&count)))
	return int(count), err
}

func (n *native) Instantiate(g GraphHandle) (ExecHandle, error) {
	var e uintptr
	err := n.call(fnGraphInstantiate, uintptr(unsafe.Pointer(&e)), uintptr(g), 0)
	return ExecHandle(e), err
}

func (n *native) LaunchGraph(e ExecHandle, s Stream) error {
	return n.call(fnGraphLaunch, uintptr(e), uintptr(s))
}

func (n *native) DestroyGraph(g GraphHandle) error { return n.call(fnGraphDestroy, uintptr(g)) }

func (n *native) DestroyExec(e ExecHandle) error { return n.call(fnGraphExecDestroy, uintptr(e)) }
