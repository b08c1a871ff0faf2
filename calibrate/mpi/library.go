package mpi

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

// Variable names the MPI library, by path or by a name that the system's loader knows. Where it is set nothing else is tried.
const Variable = "FP8REWRITE_MPI_LIB"

// NotFoundError says that a launcher started several processes and that no MPI library joins them.
type NotFoundError struct {
	Launch Launch
	Looked []string // names and variables that were tried, each with what was found
	Err    error    // where no place could have helped
}

// Error says what the launcher did and where the library was looked for.
func (e *NotFoundError) Error() string {
	started := fmt.Sprintf("%s started %d processes", e.Launch.By, e.Launch.Size)
	if e.Launch.Size == 0 {
		started = fmt.Sprintf("%s started this process as rank %d", e.Launch.By, e.Launch.Rank)
	}
	if e.Err != nil {
		return fmt.Sprintf("mpi: %s, and no MPI library joins them: %v", started, e.Err)
	}
	return fmt.Sprintf("mpi: %s, and no MPI library was found to join them: install one or name it in %s; looked at %s", started, Variable,
		strings.Join(e.Looked, ", "))
}

// Unwrap is the cause, where there is one.
func (e *NotFoundError) Unwrap() error { return e.Err }

// handles are what mpi.h hides behind names: addresses of variables in Open MPI, numbers in MPICH.
type handles struct {
	world, int32, int64, bytes, max, sum, errorsReturn, inPlace uintptr
}

// The numbers of MPICH's mpi.h, which its relatives (Intel MPI, MVAPICH, Cray MPI) share by agreement: the MPICH ABI. MPI_LONG_LONG stands
// for a 64-bit integer, since the number of MPI_INT64_T differs among versions.
var mpich = handles{
	world: 0x44000000, int32: 0x4c000405, int64: 0x4c000809, bytes: 0x4c00010d, max: 0x58000001, sum: 0x58000003, errorsReturn: 0x54000001,
	inPlace: ^uintptr(0), // (void*)-1
}

// library is an open MPI library: its functions and handles.
type library struct {
	name, version string
	handles
	init, finalize, abort, size, rank, reduce, barrier, broadcast, setErrors, errorText uintptr
}

// candidates are the names to try, those of the family that the launcher belongs to first.
func candidates(by string) []string {
	var open, mpich, folders []string
	if goruntime.GOOS == "darwin" {
		open = []string{"libmpi.40.dylib", "libmpi.dylib"}
		mpich = []string{"libmpi.12.dylib", "libmpich.12.dylib", "libmpi.dylib"}
		folders = []string{"/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib"}
	} else {
		open = []string{"libmpi.so.40", "libmpi.so"}
		mpich = []string{"libmpi.so.12", "libmpich.so.12", "libmpi.so"}
		folders = []string{"/usr/lib64/openmpi/lib", "/usr/lib64/mpich/lib", "/usr/local/lib", "/opt/openmpi/lib"}
	}
	names := append(open, mpich...)
	if by == "PMI" || by == "MVAPICH" {
		names = append(mpich, open...)
	}
	out := append([]string(nil), names...)
	for _, f := range folders {
		for _, n := range names {
			out = append(out, filepath.Join(f, n))
		}
	}
	return out
}

// open finds the library and its functions.
func open(l Launch) (*library, error) {
	if goruntime.GOOS != "linux" && goruntime.GOOS != "darwin" {
		return nil, &NotFoundError{Launch: l, Err: fmt.Errorf("processes are joined on Linux and macOS, this is %s", goruntime.GOOS)}
	}
	if !dynlib.Supported {
		return nil, &NotFoundError{Launch: l, Err: dynlib.ErrBuiltWithout}
	}
	if name := os.Getenv(Variable); name != "" {
		lib, err := dynlib.Open(name, true)
		if err != nil {
			return nil, &NotFoundError{Launch: l, Looked: []string{fmt.Sprintf("%s=%q: %v", Variable, name, err)}}
		}
		return bind(lib)
	}
	looked := []string{Variable + " (not set)"}
	tried := map[string]bool{}
	for _, name := range candidates(l.By) {
		if tried[name] {
			continue
		}
		tried[name] = true
		if filepath.IsAbs(name) {
			if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
				looked = append(looked, name)
				continue
			}
		}
		lib, err := dynlib.Open(name, true)
		if err != nil {
			looked = append(looked, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		return bind(lib)
	}
	return nil, &NotFoundError{Launch: l, Looked: looked}
}

// bind looks the functions up and tells the family by what the library has.
func bind(lib *dynlib.Library) (*library, error) {
	l := &library{name: lib.Name()}
	var version uintptr
	for _, f := range []struct {
		name string
		at   *uintptr
	}{
		{"MPI_Get_library_version", &version}, {"MPI_Init_thread", &l.init}, {"MPI_Finalize", &l.finalize}, {"MPI_Abort", &l.abort},
		{"MPI_Comm_size", &l.size}, {"MPI_Comm_rank", &l.rank}, {"MPI_Allreduce", &l.reduce}, {"MPI_Barrier", &l.barrier},
		{"MPI_Bcast", &l.broadcast}, {"MPI_Comm_set_errhandler", &l.setErrors}, {"MPI_Error_string", &l.errorText},
	} {
		at, err := lib.Sym(f.name)
		if err != nil {
			return nil, fmt.Errorf("mpi: %q is no MPI library: %w", l.name, err)
		}
		*f.at = at
	}
	l.version = versionOf(version)

	if _, err := lib.Sym("ompi_mpi_comm_world"); err == nil {
		for _, h := range []struct {
			name string
			at   *uintptr
		}{
			{"ompi_mpi_comm_world", &l.world}, {"ompi_mpi_int32_t", &l.int32}, {"ompi_mpi_int64_t", &l.int64}, {"ompi_mpi_byte", &l.bytes},
			{"ompi_mpi_op_max", &l.max}, {"ompi_mpi_op_sum", &l.sum}, {"ompi_mpi_errors_return", &l.errorsReturn},
		} {
			at, err := lib.Sym(h.name)
			if err != nil {
				return nil, fmt.Errorf("mpi: Open MPI: %w", err)
			}
			*h.at = at
		}
		l.inPlace = 1 // (void*)1
		return l, nil
	}
	// MPICH 5 has a second library with the handles of MPI's own standard interface.
	if strings.Contains(filepath.Base(l.name), "mpi_abi") {
		return nil, fmt.Errorf("mpi: %q (%s) has the handles of the MPI standard's own binary interface, want the library's libmpi", l.name, l.version)
	}
	for _, relative := range []string{"MPICH", "MVAPICH", "Intel(R) MPI"} {
		if strings.Contains(l.version, relative) {
			l.handles = mpich
			return l, nil
		}
	}
	return nil, fmt.Errorf("mpi: %q calls itself %q, want Open MPI, MPICH, or a library with MPICH's binary interface", l.name, l.version)
}

// textSize is at least MPI_MAX_LIBRARY_VERSION_STRING and MPI_MAX_ERROR_STRING of every library: 8192 is the largest.
const textSize = 1 << 14

// versionOf asks for the library's own name, which is allowed before MPI is initialized.
func versionOf(f uintptr) string {
	text, n := make([]byte, textSize), new(int32)
	dynlib.Call(f, uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(n)))
	first, _, _ := strings.Cut(cut(text), "\n")
	return strings.TrimSpace(first)
}

func cut(text []byte) string {
	s, _, _ := strings.Cut(string(text), "\x00")
	return strings.TrimSpace(s)
}
