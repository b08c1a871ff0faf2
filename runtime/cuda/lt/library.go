package lt

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Library is a libcublasLt that is in the process.
type Library struct {
	Version int // such as 130102 for 13.1.2
	fn      [numFunctions]uintptr
}

// function is a function of the library.
type function int

const (
	fnCreate function = iota
	fnDestroy
	fnDescCreate
	fnDescDestroy
	fnDescSet
	fnLayoutCreate
	fnLayoutDestroy
	fnLayoutSet
	fnPreferenceCreate
	fnPreferenceDestroy
	fnPreferenceSet
	fnHeuristic
	fnMatmul

	numFunctions
)

var symbols = [numFunctions]string{
	fnCreate:            "cublasLtCreate",
	fnDestroy:           "cublasLtDestroy",
	fnDescCreate:        "cublasLtMatmulDescCreate",
	fnDescDestroy:       "cublasLtMatmulDescDestroy",
	fnDescSet:           "cublasLtMatmulDescSetAttribute",
	fnLayoutCreate:      "cublasLtMatrixLayoutCreate",
	fnLayoutDestroy:     "cublasLtMatrixLayoutDestroy",
	fnLayoutSet:         "cublasLtMatrixLayoutSetAttribute",
	fnPreferenceCreate:  "cublasLtMatmulPreferenceCreate",
	fnPreferenceDestroy: "cublasLtMatmulPreferenceDestroy",
	fnPreferenceSet:     "cublasLtMatmulPreferenceSetAttribute",
	fnHeuristic:         "cublasLtMatmulAlgoGetHeuristic",
	fnMatmul:            "cublasLtMatmul",
}

// Constants of cublasLt.h, cublas_api.h and library_types.h of CUDA 13.0, which are those of 12 where 12 has them.
const (
	computeF32 = 68 // CUBLAS_COMPUTE_32F
	opN        = 0  // CUBLAS_OP_N
	opT        = 1  // CUBLAS_OP_T

	layoutBatch  = 5 // CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32
	layoutStride = 6 // CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, int64

	descTransA   = 3  // CUBLASLT_MATMUL_DESC_TRANSA, int32
	descTransB   = 4  // CUBLASLT_MATMUL_DESC_TRANSB, int32
	descEpilogue = 7  // CUBLASLT_MATMUL_DESC_EPILOGUE, uint32
	descBias     = 8  // CUBLASLT_MATMUL_DESC_BIAS_POINTER
	descScaleA   = 17 // CUBLASLT_MATMUL_DESC_A_SCALE_POINTER
	descScaleB   = 18 // CUBLASLT_MATMUL_DESC_B_SCALE_POINTER
	descScaleD   = 20 // CUBLASLT_MATMUL_DESC_D_SCALE_POINTER
	descFast     = 25 // CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8
	descBiasType = 26 // CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32
	descModeA    = 31 // CUBLASLT_MATMUL_DESC_A_SCALE_MODE, int32, since 12.8
	descModeB    = 32 // CUBLASLT_MATMUL_DESC_B_SCALE_MODE, int32, since 12.8

	modeVector = 3 // CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F, since 12.9

	epilogueDefault = 1  // CUBLASLT_EPILOGUE_DEFAULT
	epilogueReLU    = 2  // CUBLASLT_EPILOGUE_RELU
	epilogueBias    = 4  // CUBLASLT_EPILOGUE_BIAS
	epilogueGELU    = 32 // CUBLASLT_EPILOGUE_GELU

	prefWorkspace = 1 // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64
	prefAlignA    = 5 // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32; B, C, D follow
)

// cudaTypes are the values of cudaDataType.
var cudaTypes = [...]uintptr{E4M3: 28, E5M2: 29, BF16: 14, F16: 2, F32: 0}

// Open takes the functions of a libcublasLt that was found. The error is l's own, or names a function that it lacks.
func Open(l driver.Library) (*Library, error) {
	lib := &Library{Version: l.Version}
	for i, name := range symbols {
		at, err := l.Sym(name)
		if err != nil {
			if l.Err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("libcublasLt %s (%s) lacks a function: %w", l.VersionText(), l.Path, err)
		}
		lib.fn[i] = at
	}
	return lib, nil
}

// call calls a function. See [dynlib.Call] for what the arguments may be.
//
//go:uintptrescapes
func (l *Library) call(f function, args ...uintptr) error {
	if status := int32(dynlib.Call(l.fn[f], args...)); status != 0 {
		return &StatusError{Call: symbols[f], Status: int(status)}
	}
	return nil
}

// destroy gives an object back; the null object is nothing.
func (l *Library) destroy(f function, object uintptr) error {
	if object == 0 {
		return nil
	}
	return l.call(f, object)
}
