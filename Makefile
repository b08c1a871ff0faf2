.PHONY: exhaustive generate-asm generate-ptx venvs interop loaders corpus conformance

# Casts all 2^32 float32 inputs in every format; about 12 minutes of processor time on two cores.
exhaustive:
	go test ./float8 -run Exhaustive -exhaustive -timeout 60m -v

# Writes the assembly of float8, runtime/cpu/gemm and runtime/cpu/vec.
generate-asm:
	cd float8/internal/asmgen && go run . -out ../../kernels_amd64.s -arm64 ../../kernels_arm64.s
	cd runtime/cpu/gemm/internal/asmgen && go run . -out ../../kernels_amd64.s -arm64 ../../kernels_arm64.s
	cd runtime/cpu/vec/internal/asmgen && go run . -out ../../kernels_amd64.s

# Writes the PTX of runtime/cuda/kernels from its CUDA sources, with NVRTC 12.1, which needs no GPU. It is that in the folder which
# FP8REWRITE_NVRTC names, else the one that the Python registry has.
NVRTC = .venv-nvrtc/nvidia/cuda_nvrtc/lib
generate-ptx: $(if $(FP8REWRITE_NVRTC),,$(NVRTC))
	FP8REWRITE_NVRTC=$(or $(FP8REWRITE_NVRTC),$(CURDIR)/$(NVRTC)) go generate ./runtime/cuda/kernels

$(NVRTC):
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --target .venv-nvrtc nvidia-cuda-nvrtc-cu12==12.1.105

# Pythons with pinned packages: the newest onnx and ONNX Runtime; ONNX Runtime 1.21, which needs Python 3.10 to 3.13 and is left out
# aloud where it does not install; and the onnx whose node tests the CPU engine runs.
venvs: .venv-newest/ready .venv-121/ready .venv-conformance/ready

.venv-newest/ready: interop/requirements-newest.txt
	python3 -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv-121/ready: interop/requirements-121.txt
	python3 -m venv --clear .venv-121
	if .venv-121/bin/python -m pip install --quiet --disable-pip-version-check -r $<; then touch $@; \
	else rm -rf .venv-121; echo "SKIPPED: ONNX Runtime 1.21 does not install here: it will check nothing"; fi

.venv-conformance/ready: interop/requirements-conformance.txt
	python3 -m venv --clear .venv-conformance
	.venv-conformance/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Holds the CPU engine against the ONNX project's node tests and docs/CONFORMANCE.md against the result.
conformance: venvs
	go test -count=1 -v ./runtime/cpu/conformance

# Has onnx and ONNX Runtime check, load and run what convert makes: of testdata/models, of minimal models for every way in which a
# layer can stand in a graph, and of their lowered form; every function body of Float8Linear; the amaxes that --observe shows;
# every operator before and after lifting; and has numpy compute every scale and code of converted checkpoints again.
interop: venvs
	go build -o bin/fp8rewrite ./cmd/fp8rewrite
	python3 interop/models.py --binary bin/fp8rewrite
	for v in newest 121; do test ! -e .venv-$$v/ready || for t in rewrite_cases qdq; do .venv-$$v/bin/python interop/$$t.py bin/fp8rewrite || exit 1; done || exit 1; done
	for v in newest 121; do test ! -e .venv-$$v/ready || for t in '' --scales; do .venv-$$v/bin/python interop/bodies.py $$t || exit 1; done || exit 1; done
	.venv-newest/bin/python interop/observe.py
	.venv-newest/bin/python interop/opset_lift.py --to 19
	.venv-newest/bin/python interop/checkpoints.py --binary bin/fp8rewrite

# Has transformers and compressed-tensors load converted checkpoints of tiny models of fourteen families, and computes the goldens of
# testdata/families again. On Linux the registry's torch brings CUDA's libraries along: 3 GB to download, 5.6 GB on the disk.
loaders: .venv-loaders/ready
	go build -o bin/fp8rewrite ./cmd/fp8rewrite
	.venv-loaders/bin/python -c 'import torch, transformers, compressed_tensors, accelerate'
	.venv-loaders/bin/python interop/families.py --check testdata/families
	.venv-loaders/bin/python interop/checkpoints_families.py --binary bin/fp8rewrite

.venv-loaders/ready: interop/requirements-loaders.txt
	python3 -m venv --clear .venv-loaders
	.venv-loaders/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	touch $@

# The same over a folder of models written by others, which FP8REWRITE_CORPUS names; writes docs/CORPUS.md.
CORPUS ?= $(FP8REWRITE_CORPUS)
corpus: venvs
	@test -n "$(CORPUS)" || { echo 'FP8REWRITE_CORPUS names no folder of models' >&2; exit 1; }
	python3 interop/corpus.py --corpus $(CORPUS)
