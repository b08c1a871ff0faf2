//go:build cu && cgo

package cu

import (
	"bytes"
	goruntime "runtime"
	"sync"
	"unsafe"

	lib "gorgonia.org/cu"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// linked is the libcuda that the program was linked against, through gorgonia.org/cu.
type linked struct {
	words sync.Map // FunctionHandle → how many times 8 bytes the last parameter of the kernel has
}

var (
	_ driver.Driver     = (*linked)(nil)
	_ driver.ParamSizer = (*linked)(nil)
)

// Init does nothing: the module has called cuInit before main, and there is no program where that fails.
func (*linked) Init() error { return nil }

func (*linked) Version() (int, error) {
	v := lib.Version()
	if v < 0 {
		return 0, unexplained("cuDriverGetVersion")
	}
	return v, nil
}

func (*linked) Count() (int, error) {
	n, err := lib.NumDevices()
	return n, result("cuDeviceGetCount", err)
}

func device(ordinal int) (lib.Device, error) {
	dev, err := lib.GetDevice(ordinal)
	return dev, result("cuDeviceGet", err)
}

func (*linked) Describe(ordinal int) (driver.Info, error) {
	dev, err := device(ordinal)
	if err != nil {
		return driver.Info{}, err
	}
	info := driver.Info{Ordinal: ordinal}
	if info.Name, err = dev.Name(); err != nil {
		return driver.Info{}, result("cuDeviceGetName", err)
	}
	if info.Total, err = dev.TotalMem(); err != nil {
		return driver.Info{}, result("cuDeviceTotalMem", err)
	}
	attribute := func(a lib.DeviceAttribute) (v int) {
		if err == nil {
			v, err = dev.Attribute(a)
		}
		return v
	}
	info.Major, info.Minor = attribute(lib.ComputeCapabilityMajor), attribute(lib.ComputeCapabilityMinor)
	info.SMs, info.L2 = attribute(lib.MultiprocessorCount), int64(attribute(lib.L2CacheSize))
	info.SharedPerBlock = int64(attribute(sharedPerBlockOptin))
	return info, result("cuDeviceGetAttribute", err)
}

func (*linked) Retain(ordinal int) error {
	dev, err := device(ordinal)
	if err != nil {
		return err
	}
	ctx, err := dev.RetainPrimaryCtx()
	if err != nil {
		return result("cuDevicePrimaryCtxRetain", err)
	}
	if err := lib.SetCurrentContext(ctx); err != nil {
		_ = dev.ReleasePrimaryCtx()
		return result("cuCtxSetCurrent", err)
	}
	return nil
}

func (*linked) Release(ordinal int) error {
	dev, err := device(ordinal)
	if err != nil {
		return err
	}
	return result("cuDevicePrimaryCtxRelease", dev.ReleasePrimaryCtx())
}

func (*linked) Memory() (free, total int64, err error) {
	free, total, err = lib.MemInfo()
	return free, total, result("cuMemGetInfo", err)
}

func (*linked) Alloc(size int64) (driver.Ptr, error) {
	p, err := lib.MemAlloc(size)
	return driver.Ptr(p), result("cuMemAlloc", err)
}

func (*linked) Free(p driver.Ptr) error { return result("cuMemFree", lib.MemFree(lib.DevicePtr(p))) }

func (*linked) FreeHost(p unsafe.Pointer) error { return result("cuMemFreeHost", lib.MemFreeHost(p)) }

func (*linked) ToDevice(dst driver.Ptr, src unsafe.Pointer, size int64, s driver.Stream) error {
	return result("cuMemcpyHtoDAsync", lib.MemcpyHtoDAsync(lib.DevicePtr(dst), src, size, as[lib.Stream](s)))
}

func (*linked) ToHost(dst unsafe.Pointer, src driver.Ptr, size int64, s driver.Stream) error {
	return result("cuMemcpyDtoHAsync", lib.MemcpyDtoHAsync(dst, lib.DevicePtr(src), size, as[lib.Stream](s)))
}

func (*linked) OnDevice(dst, src driver.Ptr, size int64, s driver.Stream) error {
	return result("cuMemcpyDtoDAsync", lib.MemcpyDtoDAsync(lib.DevicePtr(dst), lib.DevicePtr(src), size, as[lib.Stream](s)))
}

func (*linked) Set8(dst driver.Ptr, value uint8, n int64, s driver.Stream) error {
	return result("cuMemsetD8Async", lib.MemsetD8Async(lib.DevicePtr(dst), value, n, as[lib.Stream](s)))
}

func (*linked) Set32(dst driver.Ptr, value uint32, n int64, s driver.Stream) error {
	return result("cuMemsetD32Async", lib.MemsetD32Async(lib.DevicePtr(dst), uint(value), n, as[lib.Stream](s)))
}

func (*linked) NewStream() (driver.Stream, error) {
	s, err := lib.MakeStream(lib.NonBlocking)
	return driver.Stream(handle(s)), result("cuStreamCreate", err)
}

func (*linked) DestroyStream(s driver.Stream) error {
	stream := as[lib.Stream](s)
	return result("cuStreamDestroy", stream.Destroy())
}

func (*linked) SyncStream(s driver.Stream) error {
	return result("cuStreamSynchronize", as[lib.Stream](s).Synchronize())
}

func (*linked) WaitEvent(s driver.Stream, e driver.Event) error {
	return result("cuStreamWaitEvent", as[lib.Stream](s).Wait(as[lib.Event](e), 0))
}

func (*linked) SyncContext() error { return result("cuCtxSynchronize", lib.Synchronize()) }

func (*linked) NewEvent(timing bool) (driver.Event, error) {
	flags := lib.DisableTiming
	if timing {
		flags = lib.DefaultEvent
	}
	e, err := lib.MakeEvent(flags)
	return driver.Event(handle(e)), result("cuEventCreate", err)
}

func (*linked) DestroyEvent(e driver.Event) error {
	event := as[lib.Event](e)
	return result("cuEventDestroy", lib.DestroyEvent(&event))
}

func (*linked) RecordEvent(e driver.Event, s driver.Stream) error {
	return result("cuEventRecord", as[lib.Event](e).Record(as[lib.Stream](s)))
}

func (*linked) SyncEvent(e driver.Event) error {
	return result("cuEventSynchronize", as[lib.Event](e).Synchronize())
}

func (*linked) Elapsed(from, to driver.Event) (float32, error) {
	ms, err := as[lib.Event](from).Elapsed(as[lib.Event](to))
	return float32(ms), result("cuEventElapsedTime", err)
}

func (*linked) LoadModule(image []byte) (driver.ModuleHandle, string, error) {
	// The module hands the logs' addresses to C as numbers, so they must be pinned.
	var pin goruntime.Pinner
	defer pin.Unpin()
	info, errs := make([]byte, 16<<10), make([]byte, 16<<10)
	pin.Pin(&info[0])
	pin.Pin(&errs[0])
	m, err := lib.LoadDataEx(string(image), &lib.JITInfoLogBuffer{Buffer: info}, &lib.JITErrorLogBuffer{Buffer: errs})
	log := text(errs)
	if log == "" {
		log = text(info)
	}
	return driver.ModuleHandle(handle(m)), log, result("cuModuleLoadDataEx", err)
}

// text is what stands before the first zero byte.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

func (*linked) UnloadModule(m driver.ModuleHandle) error {
	return result("cuModuleUnload", as[lib.Module](m).Unload())
}

// Function is cuModuleGetFunction. A kernel that Launch could not give its arguments is refused here.
func (l *linked) Function(m driver.ModuleHandle, name string) (driver.FunctionHandle, error) {
	f, err := as[lib.Module](m).Function(name)
	if err != nil {
		return 0, result("cuModuleGetFunction", err)
	}
	h := driver.FunctionHandle(handle(f))
	sizes, _, err := l.ParamSizes(h)
	if err != nil {
		return 0, err
	}
	words := 0
	for i, size := range sizes {
		if i < len(sizes)-1 && size > 8 {
			return 0, tooWide(name, i, size)
		}
		words = (size + 7) / 8
	}
	l.words.Store(h, words)
	return h, nil
}

func (*linked) Attribute(f driver.FunctionHandle, a driver.FunctionAttribute) (int, error) {
	v, err := as[lib.Function](f).Attribute(lib.FunctionAttribute(a))
	return v, result("cuFuncGetAttribute", err)
}

// Launch is cuLaunchKernel. The module copies 8 bytes of each argument into one array, argument after argument, and gives CUDA the
// addresses of these copies. So a struct of more bytes can only be the last argument, handed over as one argument for each 8 bytes of
// it: they come to lie behind each other, which makes them the struct, and CUDA asks for no more addresses than the kernel has
// parameters.
func (l *linked) Launch(f driver.FunctionHandle, at driver.Launch, params []unsafe.Pointer) error {
	words, ok := l.words.Load(f)
	if !ok {
		return unexplained("cuLaunchKernel") // no handle that Function gave
	}
	if n := len(params); n > 0 {
		params = params[:n:n] // what follows in the caller's array is not ours
		for i := 1; i < words.(int); i++ {
			params = append(params, unsafe.Add(params[n-1], 8*i))
		}
	}
	return result("cuLaunchKernel", as[lib.Function](f).Launch(
		int(at.Grid[0]), int(at.Grid[1]), int(at.Grid[2]), int(at.Block[0]), int(at.Block[1]), int(at.Block[2]),
		at.Shared, as[lib.Stream](at.Stream), params))
}
