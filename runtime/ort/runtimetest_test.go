package ort_test

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
	"github.com/fp8rewrite/fp8rewrite/runtime/runtimetest"
)

// TestSuite needs an ONNX Runtime, which FP8REWRITE_ORT_LIB names or the usual places hold.
func TestSuite(t *testing.T) {
	runtimetest.Run(t, ort.New(""), map[string]string{
		"counts/input":                       "ONNX Runtime computes the function's body, which has no counts",
		"counts/weight":                      "ONNX Runtime computes the function's body, which has no counts",
		"counts/iterations of a loop add up": "ONNX Runtime computes the function's body, which has no counts",
		"bits":                               "ONNX Runtime chooses its kernels by the number of rows and of threads, and promises no bits",
		"errors/a bound on memory":           "ONNX Runtime takes what it needs; Open refuses a bound",
		"workers/amaxes are joined before the cast": "ONNX Runtime cannot call out in the middle of a run; Open refuses such a model",
		"workers/a failure to join ends the run":    "ONNX Runtime cannot call out in the middle of a run; Open refuses such a model",
	}, runtimetest.Default())
}
