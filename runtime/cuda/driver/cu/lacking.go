//go:build cu && cgo

package cu

// #cgo LDFLAGS: -lcuda
// #cgo CFLAGS: -I/usr/local/cuda/include
// #include <cuda.h>
// #if CUDA_VERSION < 12040 || CUDA_VERSION >= 13000
// #error "the build tag cu needs cuda.h of CUDA 12.4 to 12.9: gorgonia.org/cu does not compile with CUDA 13's"
// #endif
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"

	lib "gorgonia.org/cu"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Here is what gorgonia.org/cu lacks of the driver API: the names and texts of errors, pinned memory, setting a kernel's attributes, and
// a kernel's parameters.

const sharedPerBlockOptin lib.DeviceAttribute = C.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN

// result is the module's error of a function of CUDA's as a [driver.Error]. The module's type for it is not exported; it is an integer,
// CUDA's code.
func result(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		return coded(call, C.CUresult(v.Int()))
	}
	return fmt.Errorf("cuda: %s: %w", call, err)
}

// coded is a result of a function of CUDA's, in CUDA's words.
func coded(call string, code C.CUresult) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	e := &driver.Error{Call: call, Code: int(code)}
	var s *C.char
	if C.cuGetErrorName(code, &s) == C.CUDA_SUCCESS {
		e.Name = C.GoString(s)
	}
	if C.cuGetErrorString(code, &s) == C.CUDA_SUCCESS {
		e.Text = C.GoString(s)
	}
	return e
}

// unexplained is the error of a call whose code is not known.
func unexplained(call string) error { return coded(call, C.CUDA_ERROR_UNKNOWN) }

// tooWide is the error of a kernel that Launch cannot give its arguments.
func tooWide(kernel string, param, size int) error {
	return fmt.Errorf("cuda: kernel %q: parameter %d has %d bytes, and through gorgonia.org/cu only the last can have more than 8: %w",
		kernel, param, size, coded("cuLaunchKernel", C.CUDA_ERROR_NOT_SUPPORTED))
}

func (*linked) AllocHost(size int64) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	err := coded("cuMemAllocHost", C.cuMemAllocHost(&p, C.size_t(size)))
	return p, err
}

func (*linked) SetAttribute(f driver.FunctionHandle, a driver.FunctionAttribute, value int) error {
	return coded("cuFuncSetAttribute", C.cuFuncSetAttribute(function(f), C.CUfunction_attribute(a), C.int(value)))
}

// ParamSizes is cuFuncGetParamInfo, which tells one parameter's size after the other until there is none.
func (*linked) ParamSizes(f driver.FunctionHandle) ([]int, bool, error) {
	sizes := []int{}
	for {
		var offset, size C.size_t
		switch code := C.cuFuncGetParamInfo(function(f), C.size_t(len(sizes)), &offset, &size); code {
		case C.CUDA_SUCCESS:
			sizes = append(sizes, int(size))
		case C.CUDA_ERROR_INVALID_VALUE:
			return sizes, true, nil
		default:
			return nil, false, coded("cuFuncGetParamInfo", code)
		}
	}
}

func function(f driver.FunctionHandle) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
