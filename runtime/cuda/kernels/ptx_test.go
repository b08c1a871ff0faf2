package kernels

import (
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels/internal/nvrtc"
)

// sources are the names of the kernels' files, without their ending.
func sources(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat("source"); err != nil {
		t.Skip("the sources are not here: the test runs outside of its folder")
	}
	found, err := fs.Glob(os.DirFS("source"), "*.cu")
	if err != nil || len(found) == 0 {
		t.Fatalf("sources: %v, %v", found, err)
	}
	for i := range found {
		found[i] = strings.TrimSuffix(found[i], ".cu")
	}
	return found
}

func TestPTXComesFromTheSources(t *testing.T) {
	names := sources(t)
	for _, name := range names {
		text, err := nvrtc.Expand(os.DirFS("source"), name+".cu")
		if err != nil {
			t.Fatal(err)
		}
		image, err := moduleImage(name)
		if err != nil {
			t.Error(err)
			continue
		}
		first, body, _ := strings.Cut(string(image), "\n")
		if want := nvrtc.Header(name+".cu", text, body); first+"\n" != want {
			t.Errorf("ptx/%s.ptx is not of this source, or was edited: run go generate\ngot  %s\nwant %s", name, first, want)
		}
	}
	made, err := fs.Glob(ptx, "ptx/*.ptx")
	if err != nil || len(made) != len(names) {
		t.Errorf("%d PTX files for %d sources, %v", len(made), len(names), err)
	}
}

// skipOrFail skips a test that needs NVRTC, unless the environment names one.
func skipOrFail(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv(nvrtc.Variable) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func openNVRTC(t *testing.T) *nvrtc.Library {
	t.Helper()
	lib, err := nvrtc.Open()
	if err != nil {
		skipOrFail(t, "no NVRTC here: %v", err)
	}
	return lib
}

func TestPTXIsWhatNVRTCWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles every kernel: skipped by -short")
	}
	lib := openNVRTC(t)
	version, err := lib.Version()
	if err != nil {
		t.Fatal(err)
	}
	if version != nvrtc.Pinned {
		skipOrFail(t, "NVRTC %s here, the PTX is of %s", version, nvrtc.Pinned)
	}
	for _, name := range sources(t) {
		text, err := nvrtc.Expand(os.DirFS("source"), name+".cu")
		if err != nil {
			t.Fatal(err)
		}
		want, err := lib.Compile(name+".cu", text)
		if err != nil {
			t.Fatal(err)
		}
		image, err := moduleImage(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(image); got != nvrtc.Header(name+".cu", text, want)+want {
			t.Errorf("ptx/%s.ptx is not what NVRTC %s writes", name, version)
		}
	}
}

func TestCompilerTellsAnError(t *testing.T) {
	lib := openNVRTC(t)
	if _, err := lib.Compile("bad.cu", "extern \"C\" __global__ void f() { nothing(); }"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error %v, want one that names the unknown function", err)
	}
}

var (
	entryLine = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(\n\s*\.param \.align 8 \.b8 \w+\[(\d+)\]\n\)\n\.maxntid (\d+), 1, 1`)
	anyEntry  = regexp.MustCompile(`(?m)^\.visible \.entry`)
	version   = regexp.MustCompile(`(?m)^\.version (.*)\n\.target (.*)$`)
)

func TestTableIsThatOfThePTX(t *testing.T) {
	table := map[string]Entry{}
	for _, e := range Table() {
		if _, twice := table[e.Name]; twice {
			t.Errorf("kernel %q twice in the table", e.Name)
		}
		table[e.Name] = e
	}
	for _, module := range sources(t) {
		image, err := moduleImage(module)
		if err != nil {
			t.Fatal(err)
		}
		target := "sm_89"
		if strings.HasSuffix(module, nvrtc.Hopper) {
			target = "sm_90a"
		}
		if m := version.FindSubmatch(image); m == nil || string(m[1]) != "8.1" || string(m[2]) != target {
			t.Errorf("%s: version and target %q, want 8.1 and %s", module, m, target)
		}
		found := entryLine.FindAllSubmatch(image, -1)
		if all := len(anyEntry.FindAll(image, -1)); all != len(found) {
			t.Errorf("%s: %d kernels, of which %d take one struct and limit their threads", module, all, len(found))
		}
		for _, m := range found {
			name := string(m[1])
			bytes, _ := strconv.Atoi(string(m[2]))
			threads, _ := strconv.Atoi(string(m[3]))
			if got, want := table[name], (Entry{name, module, bytes, threads, strings.HasSuffix(module, nvrtc.Hopper)}); got != want {
				t.Errorf("table has %+v, the PTX %+v", got, want)
			}
			delete(table, name)
		}
	}
	for name := range table {
		t.Errorf("kernel %q of the table is in no PTX", name)
	}
}

func TestKernelImageHoldsOneKernel(t *testing.T) {
	table := Table()
	declared := regexp.MustCompile(`(?m)^\.(?:extern|global|const|shared)\b.*?(\w+)(?:\[\d*\])*(?: = .*)?;$`)
	symbol := regexp.MustCompile(`[A-Za-z_]\w{3,}`)
	for _, e := range table {
		whole, err := moduleImage(e.Module)
		if err != nil {
			t.Fatal(err)
		}
		image, err := kernelImage(e)
		if err != nil {
			t.Error(err)
			continue
		}
		found := entryLine.FindAllSubmatch(image, -1)
		if len(found) != 1 || string(found[0][1]) != e.Name || len(anyEntry.FindAll(image, -1)) != 1 {
			t.Errorf("image of kernel %q holds %d kernels", e.Name, len(anyEntry.FindAll(image, -1)))
		}
		if open, shut := strings.Count(string(image), "{"), strings.Count(string(image), "}"); open != shut || version.FindIndex(image) == nil {
			t.Errorf("image of kernel %q: %d braces open, %d shut", e.Name, open, shut)
		}
		// What the source's PTX declares beside its kernels is there if the kernel speaks of it.
		words := map[string]bool{}
		for _, w := range symbol.FindAllString(string(image), -1) {
			words[w] = true
		}
		here := map[string]bool{}
		for _, m := range declared.FindAllSubmatch(image, -1) {
			here[string(m[1])] = true
		}
		for _, m := range declared.FindAllSubmatch(whole, -1) {
			if name := string(m[1]); words[name] && !here[name] {
				t.Errorf("image of kernel %q uses %q and does not declare it", e.Name, name)
			}
		}
	}
	if _, err := kernelImage(Entry{Name: "rms_norm", Module: "norm"}); err == nil {
		t.Error("a kernel that is not there: no error")
	}
}

// TestInstructionsAreNumberedAlike reads the enumeration of chain.cu.
func TestInstructionsAreNumberedAlike(t *testing.T) {
	sources(t)
	b, err := os.ReadFile("source/chain.cu")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "enum {\n    OP_LOAD")
	list, _, _ := strings.Cut("OP_LOAD"+rest, "}")
	number := map[string]int{}
	next := 0
	for item := range strings.SplitSeq(list, ",") {
		name, value, given := strings.Cut(strings.TrimSpace(item), " = ")
		if given {
			if next, err = strconv.Atoi(value); err != nil {
				t.Fatal(err)
			}
		}
		number[name] = next
		next++
	}
	for name, op := range map[string]Op{"OP_LOAD": OpLoad, "OP_SAVE": OpSave, "OP_RSUB": OpRSub, "OP_RPOW": OpRPow, "OP_EQUAL": OpEqual, "OP_KEEP_IF": OpKeepIf,
		"OP_PRELU": OpPRelu, "OP_NEG": OpNeg, "OP_SIGMOID": OpSigmoid, "OP_SQUARE": OpSquare, "OP_ROUND_BF16": OpRoundBF16, "OP_RSQRT": OpRsqrt} {
		if number[name] != int(op) {
			t.Errorf("%s is %d in the source, %d here", name, number[name], op)
		}
	}
	if len(number) != int(OpPRelu)+int(opEnd-OpNeg) {
		t.Errorf("%d instructions in the source, %d here", len(number), int(OpPRelu)+int(opEnd-OpNeg))
	}
}
