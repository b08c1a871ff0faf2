package safetensors

import "github.com/fp8rewrite/fp8rewrite/tensor"

// names are the element types in the format's spelling. F6_E2M3 and F6_E3M2 exist in the format and have no counterpart here.
var names = map[tensor.DType]string{
	tensor.Bool: "BOOL", tensor.Float4E2M1: "F4", tensor.Uint8: "U8", tensor.Int8: "I8",
	tensor.Float8E5M2: "F8_E5M2", tensor.Float8E4M3FN: "F8_E4M3", tensor.Float8E8M0: "F8_E8M0",
	tensor.Float8E4M3FZ: "F8_E4M3FNUZ", tensor.Float8E5M2FZ: "F8_E5M2FNUZ",
	tensor.Int16: "I16", tensor.Uint16: "U16", tensor.Float16: "F16", tensor.BFloat16: "BF16",
	tensor.Int32: "I32", tensor.Uint32: "U32", tensor.Float32: "F32", tensor.Complex64: "C64",
	tensor.Float64: "F64", tensor.Int64: "I64", tensor.Uint64: "U64",
}

var dtypes = func() map[string]tensor.DType {
	m := make(map[string]tensor.DType, len(names))
	for d, n := range names {
		m[n] = d
	}
	return m
}()
