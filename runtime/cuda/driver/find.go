package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

// Environment variables that name a library, or the folder that it is in. Who names one gets that one or an error.
const (
	EnvCUDA     = "FP8REWRITE_CUDA_LIB"
	EnvCUBLASLt = "FP8REWRITE_CUBLASLT_LIB"
)

// The oldest versions that serve: the first CUDA with float8 in cuBLASLt for both Ada and Hopper cards.
const (
	oldestCUDA     = 12000
	oldestCUBLASLt = 120000
)

// Found is what this machine has of CUDA.
type Found struct {
	CUDA     Library // the driver API, libcuda, which comes with the NVIDIA driver
	CUBLASLt Library // matrix products, libcublasLt, which comes with CUDA's toolkit, or with many Python packages
}

// Library is one library that was looked for.
type Library struct {
	Name    string // "libcuda" or "libcublasLt"
	Opened  string // what the system's loader was asked for; "" where none was found
	Path    string // the file that it gave, as far as the system tells
	Version int    // as the library tells it; see VersionText
	Looked  []Look // what was tried, in order, the one that was taken last
	Err     error  // why there is none; nil where there is

	so *dynlib.Library
}

// Look is one thing that was tried.
type Look struct {
	Place  string // a name for the system's loader, a file, or a pattern of files
	From   string // the environment variable that it came from, "" for the fixed ones
	Result string // "found", or why not
}

// String is place, origin and result in one line.
func (l Look) String() string {
	if l.From != "" {
		return fmt.Sprintf("%s ($%s): %s", l.Place, l.From, l.Result)
	}
	return l.Place + ": " + l.Result
}

// VersionText is the version as people write it: "13.0" of libcuda, which is the newest CUDA that the NVIDIA driver serves, "13.1.2" of
// libcublasLt; "" where there is none.
func (l Library) VersionText() string {
	switch {
	case l.Version == 0:
		return ""
	case l.Name == nameCUDA:
		return cudaVersion(l.Version)
	}
	return fmt.Sprintf("%d.%d.%d", l.Version/10000, l.Version/100%100, l.Version%100)
}

// cudaVersion writes CUDA's version number.
func cudaVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Err is nil where both libraries were found.
func (f Found) Err() error { return errors.Join(f.CUDA.Err, f.CUBLASLt.Err) }

// Looked is what was tried for the libraries that are missing, a line each.
func (f Found) Looked() []string {
	var lines []string
	for _, l := range []Library{f.CUDA, f.CUBLASLt} {
		if l.Err == nil {
			continue
		}
		for _, look := range l.Looked {
			lines = append(lines, look.String())
		}
	}
	return lines
}

const (
	nameCUDA     = "libcuda"
	nameCUBLASLt = "libcublasLt"
)

// Find looks for the libraries and opens those it finds; no GPU is touched. A libcublasLt that the NVIDIA driver is too old for is passed
// over.
func Find() Found { return find(machine()) }

// find is Find on a machine as told.
func find(m search) Found {
	var f Found
	f.CUDA = look(m, cudaFiles(m), func(so *dynlib.Library) (int, uintptr, error) {
		at, err := so.Sym("cuDriverGetVersion")
		if err != nil {
			return 0, 0, errors.New("not CUDA's driver API: no function cuDriverGetVersion")
		}
		var v int32
		if code := int32(dynlib.Call(at, uintptr(unsafe.Pointer(&v)))); code != 0 {
			return 0, 0, nativeError(so, "cuDriverGetVersion", code)
		}
		if v < oldestCUDA {
			return 0, 0, fmt.Errorf("the NVIDIA driver serves CUDA %s, want %s or newer", cudaVersion(int(v)), cudaVersion(oldestCUDA))
		}
		return int(v), at, nil
	})
	f.CUBLASLt = look(m, cublasLtFiles(m), func(so *dynlib.Library) (int, uintptr, error) {
		at, err := so.Sym("cublasLtGetVersion")
		if err != nil {
			return 0, 0, errors.New("not cuBLASLt: no function cublasLtGetVersion")
		}
		v := int(dynlib.Call(at))
		if v < oldestCUBLASLt {
			return 0, 0, fmt.Errorf("cuBLASLt %d, want 12.0 or newer", v)
		}
		// Within a major version of CUDA every driver serves every library; across, only a newer driver an older library.
		if driver := f.CUDA.Version; driver > 0 && v/10000 > driver/1000 {
			return 0, 0, fmt.Errorf("made for CUDA %d, and the NVIDIA driver serves CUDA %s", v/10000, cudaVersion(driver))
		}
		return v, at, nil
	})
	return f
}

// files says how a library is called and where it is looked for.
type files struct {
	name, env string
	bare      []string // names, for the system's loader and in folders
	places    []place
	what      string // for people: what to install
}

// place is a pattern of folders.
type place struct{ pattern, from string }

// search is what the search depends on.
type search struct {
	goos, goarch string
	env          func(string) string
	root         string // before every absolute folder, "" but in tests
}

func machine() search { return search{goos: goruntime.GOOS, goarch: goruntime.GOARCH, env: os.Getenv} }

// at is pattern joined to the folder that variable names, nothing where it is unset.
func (m search) at(variable string, patterns ...string) []place {
	base := m.env(variable)
	if base == "" {
		return nil
	}
	var p []place
	for _, pattern := range patterns {
		p = append(p, place{filepath.Join(base, filepath.FromSlash(pattern)), variable})
	}
	return p
}

// in is fixed folders.
func (m search) in(patterns ...string) []place {
	var p []place
	for _, pattern := range patterns {
		p = append(p, place{filepath.Join(m.root, pattern), ""})
	}
	return p
}

// distribution is where Linux distributions put libraries.
func (m search) distribution() []place {
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[m.goarch]
	return m.in("/usr/lib/"+triple, "/usr/lib64", "/usr/lib", "/usr/local/lib")
}

// cudaFiles is libcuda, a part of the NVIDIA driver; the last three folders are those of Windows' Linux, of NixOS, and of containers.
func cudaFiles(m search) files {
	f := files{name: nameCUDA, env: EnvCUDA, bare: []string{"libcuda.so.1"}, what: "the NVIDIA driver"}
	switch m.goos {
	case "windows":
		f.bare = []string{"nvcuda.dll"}
	case "linux":
		f.places = append(m.toolkit(), m.distribution()...)
		f.places = append(f.places, m.in("/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/usr/local/nvidia/lib64")...)
	}
	return f
}

// cublasLtFiles is libcublasLt, the newest first.
func cublasLtFiles(m search) files {
	f := files{name: nameCUBLASLt, env: EnvCUBLASLt, bare: []string{"libcublasLt.so.13", "libcublasLt.so.12"},
		what: "CUDA's toolkit, or the Python package nvidia-cublas (nvidia-cublas-cu12 for an older driver)"}
	switch m.goos {
	case "windows":
		f.bare = []string{"cublasLt64_13.dll", "cublasLt64_12.dll"}
		f.places = m.toolkit()
	case "linux":
		f.places = append(m.toolkit(), m.distribution()...)
	}
	return f
}

// toolkit is where CUDA's toolkit and its Python packages put libraries: CUDA 13's all in nvidia/cu13, CUDA 12's in a folder each.
func (m search) toolkit() []place {
	if m.goos == "windows" {
		p := m.at("CUDA_PATH", "bin", "bin/x64")
		for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
			p = append(p, m.at(v, "Lib/site-packages/nvidia/cu13/bin/x86_64", "Lib/site-packages/nvidia/cublas/bin", "Library/bin")...)
		}
		return p
	}
	var p []place
	for _, v := range []string{"CUDA_HOME", "CUDA_PATH"} {
		p = append(p, m.at(v, "lib64", "targets/*/lib")...)
	}
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		p = append(p, m.at(v, "lib/python3*/site-packages/nvidia/cu13/lib", "lib/python3*/site-packages/nvidia/cublas/lib")...)
	}
	p = append(p, m.at("CONDA_PREFIX", "lib")...)
	return append(p, m.in("/usr/local/cuda*/lib64", "/opt/cuda/lib64")...)
}

// candidate is one file or name to try.
type candidate struct{ name, from string }

// candidates lists what to try, in order, and the patterns that hold nothing. A library that the environment names is the only one.
func candidates(m search, f files) (list []candidate, empty []Look) {
	if given := m.env(f.env); given != "" {
		if st, err := os.Stat(given); err != nil || !st.IsDir() {
			return []candidate{{given, f.env}}, nil
		}
		return inFolder(nil, nil, f, place{given, f.env}, map[string]bool{})
	}
	empty = append(empty, Look{Place: "$" + f.env, Result: "not set"})
	for _, b := range f.bare {
		list = append(list, candidate{b, ""})
	}
	seen := map[string]bool{}
	for _, p := range f.places {
		list, empty = inFolder(list, empty, f, p, seen)
	}
	return list, empty
}

// inFolder adds the files of the library in the folders that p describes, each file once.
func inFolder(list []candidate, empty []Look, f files, p place, seen map[string]bool) ([]candidate, []Look) {
	n := len(list)
	known := false
	for _, b := range f.bare {
		// The only error is that of a bad pattern, which an odd folder name can make: then nothing is there to be found.
		paths, _ := filepath.Glob(filepath.Join(p.pattern, b))
		for _, path := range paths {
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				continue
			}
			known = known || seen[real]
			if !seen[real] {
				seen[real] = true
				list = append(list, candidate{path, p.from})
			}
		}
	}
	if len(list) == n && !known {
		empty = append(empty, Look{Place: filepath.Join(p.pattern, strings.Join(f.bare, "|")), From: p.from, Result: "no such file"})
	}
	return list, empty
}

// look tries the candidates in order. use says whether an opened library serves: its version and the address of a function in it.
func look(m search, f files, use func(*dynlib.Library) (version int, function uintptr, err error)) Library {
	l := Library{Name: f.name}
	if !dynlib.Supported {
		l.Err = fmt.Errorf("%s: %w", f.name, dynlib.ErrBuiltWithout)
		return l
	}
	if m.goos != "linux" && m.goos != "windows" {
		l.Err = fmt.Errorf("%s: CUDA does not exist for %s", f.name, m.goos)
		return l
	}
	list, empty := candidates(m, f)
	for _, c := range list {
		so, err := open(c)
		if err == nil {
			var function uintptr
			if l.Version, function, err = use(so); err == nil {
				l.so, l.Opened, l.Path = so, so.Name(), fileOf(function, so.Name())
				l.Looked = append(l.Looked, Look{c.name, c.from, "found"})
				return l
			}
		}
		l.Version = 0
		// The loader's text often starts with the name itself.
		l.Looked = append(l.Looked, Look{c.name, c.from, strings.TrimPrefix(err.Error(), c.name+": ")})
	}
	l.Looked = append(l.Looked, empty...)
	if m.env(f.env) != "" {
		l.Err = fmt.Errorf("%s: the library that $%s names cannot be used", f.name, f.env)
	} else {
		l.Err = fmt.Errorf("%s was not found; it comes with %s", f.name, f.what)
	}
	// What was there and did not serve says more than what was not.
	for _, k := range l.Looked {
		if k.Result != "no such file" && k.Result != "not set" && !absent(k.Result) {
			l.Err = fmt.Errorf("%w (%s)", l.Err, k)
			break
		}
	}
	return l
}

// absent says whether the loader's text is that of a file which does not exist.
func absent(text string) bool {
	return strings.Contains(text, "No such file") || strings.Contains(text, "could not be found")
}

// open opens a candidate. The loader takes a name without a slash for one that it is to search for: so it is, but for a file of the
// working folder that the environment names. A file that merely lies there is not asked for, and its code must not run.
func open(c candidate) (*dynlib.Library, error) {
	if c.from == "" {
		return dynlib.Open(c.name, false)
	}
	name := c.name
	if _, err := os.Stat(name); err == nil && !filepath.IsAbs(name) {
		if abs, err := filepath.Abs(name); err == nil {
			name = abs
		}
	}
	return dynlib.Open(name, false)
}

// Sym is the address of a function of the library.
func (l Library) Sym(name string) (uintptr, error) {
	if l.so == nil {
		if l.Err != nil {
			return 0, l.Err
		}
		return 0, fmt.Errorf("%s: not open", l.Name)
	}
	return l.so.Sym(name)
}

// fileOf is the file whose code lies at address at, as Linux tells it; else opened.
func fileOf(at uintptr, opened string) string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return opened
	}
	for line := range strings.Lines(string(maps)) {
		// 7f0c2a400000-7f0c2a600000 r-xp 00001000 08:02 135522 /usr/lib/libcuda.so.580.95.05
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n != 2 || at < from || at >= to {
			continue
		}
		if i := strings.IndexByte(line, '/'); i >= 0 {
			return strings.TrimSuffix(line[i:], "\n")
		}
	}
	return opened
}
