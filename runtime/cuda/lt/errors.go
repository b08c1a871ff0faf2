package lt

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Values of cublasStatus_t, from cublas_api.h.
const (
	statusInvalidValue    = 7
	statusExecutionFailed = 13
	statusInternalError   = 14
	statusNotSupported    = 15
)

var statusNames = map[int]string{
	1:                     "CUBLAS_STATUS_NOT_INITIALIZED",
	3:                     "CUBLAS_STATUS_ALLOC_FAILED",
	statusInvalidValue:    "CUBLAS_STATUS_INVALID_VALUE",
	8:                     "CUBLAS_STATUS_ARCH_MISMATCH",
	11:                    "CUBLAS_STATUS_MAPPING_ERROR",
	statusExecutionFailed: "CUBLAS_STATUS_EXECUTION_FAILED",
	statusInternalError:   "CUBLAS_STATUS_INTERNAL_ERROR",
	statusNotSupported:    "CUBLAS_STATUS_NOT_SUPPORTED",
	16:                    "CUBLAS_STATUS_LICENSE_ERROR",
}

// StatusError is what a function of cuBLASLt returned.
type StatusError struct {
	Call   string
	Status int
}

// Error gives function, name and number.
func (e *StatusError) Error() string {
	name, ok := statusNames[e.Status]
	if !ok {
		name = "cublasStatus_t"
	}
	return fmt.Sprintf("cublasLt: %s: %s (%d)", e.Call, name, e.Status)
}

// UnsupportedError says that a problem cannot be computed so.
type UnsupportedError struct {
	Problem Problem
	Why     string
	Err     error // the library's, nil where it was not asked
}

// Error names problem and reason.
func (e *UnsupportedError) Error() string {
	s := fmt.Sprintf("cublasLt: %v: %s", e.Problem, e.Why)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is the library's error.
func (e *UnsupportedError) Unwrap() error { return e.Err }

// AddressError says that an operand's address cannot be used; nothing was launched.
type AddressError struct {
	Problem Problem
	Operand string // "x", "w", "y", "scaleX", "scaleW", "scaleY", "bias"
	Got     driver.Ptr
	Want    string
}

// Error names problem, operand, address and what is wanted.
func (e *AddressError) Error() string {
	return fmt.Sprintf("cublasLt: %v: %s at address %#x, want %s", e.Problem, e.Operand, uint64(e.Got), e.Want)
}
