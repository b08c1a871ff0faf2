package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// files puts empty files into a new folder and gives the folder.
func filesIn(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		path := filepath.Join(root, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLooksInOrder(t *testing.T) {
	names := []string{
		"home/lib64/libcublasLt.so.12",
		"path/targets/x86_64-linux/lib/libcublasLt.so.13",
		"venv/lib/python3.12/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
		"venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
		"conda/lib/python3.11/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
		"conda/lib/libcublasLt.so.12",
		"usr/local/cuda-12.4/lib64/libcublasLt.so.12",
		"usr/local/cuda-13.0/lib64/libcublasLt.so.12",
		"usr/local/cuda-13.0/lib64/libcublasLt.so.13",
		"opt/cuda/lib64/libcublasLt.so.13",
		"usr/lib/x86_64-linux-gnu/libcublasLt.so.12",
		"usr/lib64/libcublasLt.so.13",
		"usr/lib/x86_64-linux-gnu/libcuda.so.1",
		"usr/lib/wsl/lib/libcuda.so.1",
		"run/opengl-driver/lib/libcuda.so.1",
		"usr/local/nvidia/lib64/libcuda.so.1",
	}
	root := filesIn(t, names...)
	// A link to a folder is the folder, and is not tried twice.
	if err := os.Symlink("cuda-13.0", filepath.Join(root, "usr/local/cuda")); err != nil {
		t.Skip("no symbolic links here")
	}
	env := map[string]string{
		"CUDA_HOME": filepath.Join(root, "home"), "CUDA_PATH": filepath.Join(root, "path"),
		"VIRTUAL_ENV": filepath.Join(root, "venv"), "CONDA_PREFIX": filepath.Join(root, "conda"),
	}
	m := search{goos: "linux", goarch: "amd64", env: func(n string) string { return env[n] }, root: root}
	tried := func(f files) []string {
		list, _ := candidates(m, f)
		var got []string
		for _, c := range list {
			got = append(got, filepath.ToSlash(strings.TrimPrefix(c.name, root+string(filepath.Separator))))
		}
		return got
	}
	want := slices.Concat([]string{"libcublasLt.so.13", "libcublasLt.so.12"}, names[:6],
		[]string{"usr/local/cuda/lib64/libcublasLt.so.13", "usr/local/cuda/lib64/libcublasLt.so.12", "usr/local/cuda-12.4/lib64/libcublasLt.so.12"}, names[9:12])
	got := tried(cublasLtFiles(m))
	// The pattern's files come by name: of each soname together.
	slices.Sort(got[8:11])
	slices.Sort(want[8:11])
	if !slices.Equal(got, want) {
		t.Errorf("libcublasLt:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := tried(cudaFiles(m)), append([]string{"libcuda.so.1"}, names[12:]...); !slices.Equal(got, want) {
		t.Errorf("libcuda:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Who names a file gets that one; who names a folder, the libraries in it.
	env[EnvCUBLASLt] = filepath.Join(root, "nowhere.so")
	if list, _ := candidates(m, cublasLtFiles(m)); !slices.Equal(list, []candidate{{env[EnvCUBLASLt], EnvCUBLASLt}}) {
		t.Errorf("a file by the environment: %v", list)
	}
	env[EnvCUBLASLt] = filepath.Join(root, "usr/local/cuda-13.0/lib64")
	if got, want := tried(cublasLtFiles(m)), []string{names[8], names[7]}; !slices.Equal(got, want) {
		t.Errorf("a folder by the environment: %q, want %q", got, want)
	}
}

func TestFindsWhatServes(t *testing.T) {
	cuda, lt12, lt13 := drivertest.CUDA(t), drivertest.CUBLASLt(t, "120403"), drivertest.CUBLASLt(t, "130100")
	folder := t.TempDir()
	for _, l := range []*drivertest.Library{lt12, lt13} {
		if err := os.Rename(l.Path, filepath.Join(folder, filepath.Base(l.Path))); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{EnvCUDA: cuda.Path, EnvCUBLASLt: folder}
	m := machine()
	m.env = func(n string) string { return env[n] }

	f := find(m)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	if f.CUDA.VersionText() != "13.0" || f.CUDA.Opened != cuda.Path || f.CUDA.Path != cuda.Path {
		t.Errorf("libcuda %+v", f.CUDA)
	}
	if f.CUBLASLt.VersionText() != "13.1.0" || filepath.Base(f.CUBLASLt.Path) != "libcublasLt.so.13" {
		t.Errorf("libcublasLt %+v", f.CUBLASLt)
	}
	if len(f.Looked()) != 0 || len(f.CUDA.Looked) != 1 || f.CUDA.Looked[0].String() != cuda.Path+" ($"+EnvCUDA+"): found" {
		t.Errorf("looked %v and %v", f.Looked(), f.CUDA.Looked)
	}

	// An older driver passes the newer library over.
	cuda.Set("version", 12040)
	f = find(m)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	if f.CUDA.VersionText() != "12.4" || f.CUBLASLt.VersionText() != "12.4.3" || !strings.HasSuffix(f.CUBLASLt.Looked[0].Result, "made for CUDA 13, and the NVIDIA driver serves CUDA 12.4") {
		t.Errorf("%+v", f)
	}
	// One that is older still does not serve at all.
	cuda.Set("version", 11080)
	f = find(m)
	if f.CUDA.Err == nil || !strings.Contains(f.CUDA.Err.Error(), "the NVIDIA driver serves CUDA 11.8, want 12.0 or newer") || f.CUDA.VersionText() != "" {
		t.Errorf("%+v", f.CUDA)
	}
	if _, err := f.Driver(); err == nil {
		t.Error("a driver that is too old")
	}
	cuda.Set("version", 13000)
	cuda.Fail("cuDriverGetVersion", 34, 0)
	if f = find(m); f.CUDA.Err == nil || !strings.Contains(f.CUDA.Err.Error(), "cuDriverGetVersion") {
		t.Errorf("a library that only helps to link: %v", f.CUDA.Err)
	}

	// Libraries of another kind.
	env[EnvCUDA], env[EnvCUBLASLt] = filepath.Join(folder, "libcublasLt.so.12"), cuda.Path
	f = find(m)
	for lib, says := range map[*Library]string{&f.CUDA: "not CUDA's driver API", &f.CUBLASLt: "not cuBLASLt"} {
		if lib.Err == nil || !strings.Contains(lib.Err.Error(), says) || !strings.Contains(lib.Err.Error(), "cannot be used") {
			t.Errorf("%v, want %q", lib.Err, says)
		}
		if _, err := lib.Sym("cuInit"); err == nil {
			t.Error("a function of a library that is not there")
		}
	}
	if looked := f.Looked(); len(looked) != 2 {
		t.Errorf("looked %q", looked)
	}
}

func TestAbsenceTellsWhereItLooked(t *testing.T) {
	m := search{goos: "linux", goarch: "amd64", env: func(string) string { return "" }, root: t.TempDir()}
	f := find(m)
	if !dynlib.Supported {
		for _, err := range []error{f.CUDA.Err, f.CUBLASLt.Err} {
			if err == nil || !strings.Contains(err.Error(), dynlib.ErrBuiltWithout.Error()) {
				t.Errorf("%v", err)
			}
		}
		return
	}
	if f.CUBLASLt.Err == nil {
		t.Skipf("this machine's loader finds %s", f.CUBLASLt.Path)
	}
	if !strings.Contains(f.CUBLASLt.Err.Error(), "libcublasLt was not found; it comes with CUDA's toolkit") {
		t.Errorf("%v", f.CUBLASLt.Err)
	}
	all := strings.Join(f.Looked(), "\n")
	for _, place := range []string{"libcublasLt.so.13: ", "$" + EnvCUBLASLt + ": not set", "/usr/local/cuda*/lib64/libcublasLt.so.13|libcublasLt.so.12: no such file", "/opt/cuda/lib64/"} {
		if !strings.Contains(all, place) {
			t.Errorf("%q is not in\n%s", place, all)
		}
	}
	if f = find(search{goos: "darwin", env: m.env}); f.CUDA.Err == nil || !strings.Contains(f.CUDA.Err.Error(), "CUDA does not exist for darwin") {
		t.Errorf("%v", f.CUDA.Err)
	}
}

// TestTheLoadersOwnFindComesFirst runs itself again, since the loader reads its search path when a program starts.
func TestTheLoadersOwnFindComesFirst(t *testing.T) {
	const inside = "FP8REWRITE_TEST_INSIDE"
	if want := os.Getenv(inside); want != "" {
		f := find(search{goos: "linux", goarch: "amd64", env: func(n string) string { return map[string]string{"CUDA_HOME": "/nowhere"}[n] }})
		if f.CUDA.Opened != "libcuda.so.1" || f.CUDA.Path != want {
			t.Errorf("opened %q, which is %q, want %q: %v", f.CUDA.Opened, f.CUDA.Path, want, f.CUDA.Err)
		}
		return
	}
	lib := drivertest.CUDA(t)
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+lib.Path, "LD_LIBRARY_PATH="+filepath.Dir(lib.Path))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
