package driver

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// header is a header of CUDA's: of the folder that $FP8REWRITE_CUDA_INCLUDE names, or of an installed toolkit.
func header(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("FP8REWRITE_CUDA_INCLUDE"), "/usr/local/cuda/include", "/opt/cuda/include"} {
		if dir == "" {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return string(b)
		}
	}
	t.Skipf("no %s: $FP8REWRITE_CUDA_INCLUDE names no folder with it, and no toolkit of CUDA is installed", name)
	return ""
}

func TestConstantsAreTheHeaders(t *testing.T) {
	text := header(t, "cuda.h")
	for name, want := range map[string]int64{
		"CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT":              attrSMs,
		"CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE":                     attrL2,
		"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR":          attrMajor,
		"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR":          attrMinor,
		"CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": attrSharedOptin,
		"CU_STREAM_NON_BLOCKING":                                streamNonBlocking,
		"CU_EVENT_DISABLE_TIMING":                               eventDisableTiming,
		"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL":                   captureThreadLocal,
		"CU_JIT_INFO_LOG_BUFFER":                                jitInfoLog,
		"CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES":                     jitInfoLogSize,
		"CU_JIT_ERROR_LOG_BUFFER":                               jitErrorLog,
		"CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES":                    jitErrorLogSize,
		"CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK":               int64(MaxThreadsPerBlock),
		"CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES":                   int64(StaticSharedBytes),
		"CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES":                    int64(LocalBytes),
		"CU_FUNC_ATTRIBUTE_NUM_REGS":                            int64(Registers),
		"CU_FUNC_ATTRIBUTE_PTX_VERSION":                         int64(PTXVersion),
		"CU_FUNC_ATTRIBUTE_BINARY_VERSION":                      int64(BinaryVersion),
		"CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES":       int64(MaxDynamicShared),
		"CUDA_ERROR_INVALID_VALUE":                              CodeInvalidValue,
		"CUDA_ERROR_OUT_OF_MEMORY":                              CodeOutOfMemory,
		"CUDA_ERROR_STUB_LIBRARY":                               CodeStubLibrary,
		"CUDA_ERROR_NO_DEVICE":                                  CodeNoDevice,
		"CUDA_ERROR_INVALID_DEVICE":                             CodeInvalidDevice,
		"CUDA_ERROR_INVALID_CONTEXT":                            CodeInvalidContext,
		"CUDA_ERROR_NO_BINARY_FOR_GPU":                          CodeNoBinary,
		"CUDA_ERROR_INVALID_PTX":                                CodeInvalidPTX,
		"CUDA_ERROR_UNSUPPORTED_PTX_VERSION":                    CodeUnsupportedPTX,
		"CUDA_ERROR_NOT_FOUND":                                  CodeNotFound,
		"CUDA_ERROR_NOT_READY":                                  CodeNotReady,
		"CUDA_ERROR_ILLEGAL_ADDRESS":                            CodeIllegalAddress,
		"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH":                     CodeDriverMismatch,
		"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE":             CodeCompatUnsupported,
	} {
		m := regexp.MustCompile(`\b` + name + `\s*=\s*(0x[0-9a-fA-F]+|\d+)`).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("%s is not in the header", name)
			continue
		}
		if got, err := strconv.ParseInt(m[1], 0, 64); err != nil || got != want {
			t.Errorf("%s is %s, want %d", name, m[1], want)
		}
	}
	for i, symbol := range symbols {
		// A name with a version is what the header maps the plain one to, or declares beside a newer one.
		declared := regexp.MustCompile(`(?m)^CUresult CUDAAPI ` + symbol + `\(|#define ` + plain(strings.TrimSuffix(symbol, "WithFlags")) + `\s+(__CUDA_API_PT[DS]S?Z?\()?` + symbol + `\b`).MatchString(text)
		if !declared && !optional[function(i)] {
			t.Errorf("%s is not in the header", symbol)
		}
	}
	// What the header says of an error, and whether it counts as the end of the context.
	end := regexp.MustCompile(`process\s+must be (?:terminated|relaunched)|must be terminated\s+(?:\*\s+)?and relaunched`)
	errorCode := regexp.MustCompile(`(?s)/\*\*((?:[^*]|\*[^/])*)\*/\s*(CUDA_ERROR_\w+)\s*=\s*(\d+)`)
	checked := 0
	for _, m := range errorCode.FindAllStringSubmatch(text, -1) {
		code, _ := strconv.Atoi(m[3])
		if end.MatchString(m[1]) {
			checked++
			if !(&Error{Code: code}).Sticky() {
				t.Errorf("%s (%d) ends the context by the header", m[2], code)
			}
		}
	}
	if checked < 9 {
		t.Errorf("%d errors end the context by the header, want at least 9", checked)
	}
}
