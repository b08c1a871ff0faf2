.PHONY: exhaustive generate-asm

# Casts all 2^32 float32 inputs in every format; about nine minutes on two cores.
exhaustive:
	go test ./float8 -run Exhaustive -exhaustive -timeout 60m -v

# Writes float8/*_amd64.s and *_arm64.s.
generate-asm:
	cd float8/internal/asmgen && go run . -out ../../kernels_amd64.s -arm64 ../../kernels_arm64.s
