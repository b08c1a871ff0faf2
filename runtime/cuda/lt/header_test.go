package lt

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// headers are headers of CUDA's: of the folder that $FP8REWRITE_CUDA_INCLUDE names, or of an installed toolkit.
func headers(t *testing.T, names ...string) (text string) {
	t.Helper()
	for _, dir := range []string{os.Getenv("FP8REWRITE_CUDA_INCLUDE"), "/usr/local/cuda/include", "/opt/cuda/include"} {
		text = ""
		for _, name := range names {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil && dir != "" {
				text += string(b)
			} else {
				text = ""
				break
			}
		}
		if text != "" {
			return text
		}
	}
	t.Skipf("no %q: $FP8REWRITE_CUDA_INCLUDE names no folder with them, and no toolkit of CUDA is installed", names)
	return ""
}

func TestConstantsAreTheHeaders(t *testing.T) {
	text := headers(t, "cublasLt.h", "cublas_api.h", "library_types.h")
	for name, want := range map[string]int{
		"CUBLAS_COMPUTE_32F":                          computeF32,
		"CUBLAS_OP_N":                                 opN,
		"CUBLAS_OP_T":                                 opT,
		"CUBLAS_STATUS_INVALID_VALUE":                 statusInvalidValue,
		"CUBLAS_STATUS_EXECUTION_FAILED":              statusExecutionFailed,
		"CUBLAS_STATUS_INTERNAL_ERROR":                statusInternalError,
		"CUBLAS_STATUS_NOT_SUPPORTED":                 statusNotSupported,
		"CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT":          layoutBatch,
		"CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET": layoutStride,
		"CUBLASLT_MATMUL_DESC_TRANSA":                 descTransA,
		"CUBLASLT_MATMUL_DESC_TRANSB":                 descTransB,
		"CUBLASLT_MATMUL_DESC_EPILOGUE":               descEpilogue,
		"CUBLASLT_MATMUL_DESC_BIAS_POINTER":           descBias,
		"CUBLASLT_MATMUL_DESC_A_SCALE_POINTER":        descScaleA,
		"CUBLASLT_MATMUL_DESC_B_SCALE_POINTER":        descScaleB,
		"CUBLASLT_MATMUL_DESC_D_SCALE_POINTER":        descScaleD,
		"CUBLASLT_MATMUL_DESC_FAST_ACCUM":             descFast,
		"CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE":         descBiasType,
		"CUBLASLT_MATMUL_DESC_A_SCALE_MODE":           descModeA,
		"CUBLASLT_MATMUL_DESC_B_SCALE_MODE":           descModeB,
		"CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F":  modeVector,
		"CUBLASLT_EPILOGUE_DEFAULT":                   epilogueDefault,
		"CUBLASLT_EPILOGUE_RELU":                      epilogueReLU,
		"CUBLASLT_EPILOGUE_BIAS":                      epilogueBias,
		"CUBLASLT_EPILOGUE_GELU":                      epilogueGELU,
		"CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES":    prefWorkspace,
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES":  prefAlignA,
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES":  prefAlignA + 1,
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES":  prefAlignA + 2,
		"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES":  prefAlignA + 3,
		"CUDA_R_8F_E4M3":                              int(cudaTypes[E4M3]),
		"CUDA_R_8F_E5M2":                              int(cudaTypes[E5M2]),
		"CUDA_R_16BF":                                 int(cudaTypes[BF16]),
		"CUDA_R_16F":                                  int(cudaTypes[F16]),
		"CUDA_R_32F":                                  int(cudaTypes[F32]),
	} {
		m := regexp.MustCompile(`\b` + name + `\s*=\s*(\d+)`).FindStringSubmatch(text)
		if m == nil && (name == "CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F" || strings.HasSuffix(name, "_SCALE_MODE")) {
			t.Logf("%s is not in these headers, which are older", name)
			continue
		}
		if m == nil {
			t.Errorf("%s is not in the headers", name)
			continue
		}
		if got, err := strconv.Atoi(m[1]); err != nil || got != want {
			t.Errorf("%s is %s, want %d", name, m[1], want)
		}
	}
	for status, name := range statusNames {
		if !regexp.MustCompile(`\b` + name + `\s*=\s*` + strconv.Itoa(status) + `\b`).MatchString(text) {
			t.Errorf("%s is not %d in the headers", name, status)
		}
	}
	for _, symbol := range symbols {
		if !regexp.MustCompile(`\b` + symbol + `\s*\(`).MatchString(text) {
			t.Errorf("%s is not in the headers", symbol)
		}
	}
}
