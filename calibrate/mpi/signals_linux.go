package mpi

import (
	"syscall"
	"unsafe"
)

// keepSignals remembers how signals are handled and gives a function that puts it back.
//
// Communication layers beneath MPI (UCX does, in MPICH and in many builds of Open MPI) replace the handlers of crashes by ones that print
// and end the process. To a Go program such a signal may be no crash: the page of a mapped file that was cut short becomes an error, a
// nil pointer a panic with its own message. The layer also takes the place of the C library's sigaction so that nobody replaces its
// handlers; the system call knows nothing of that.
func keepSignals() (restore func()) {
	// The kernel's struct sigaction takes at most 32 bytes here; what is read is written back as it is.
	type action [8]uint64
	signals := []syscall.Signal{syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGABRT, syscall.SIGTRAP,
		syscall.SIGURG, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE}
	const maskSize = 8 // bytes of the kernel's sigset_t
	kept := make([]action, len(signals))
	got := make([]bool, len(signals))
	for i, s := range signals {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&kept[i])), maskSize, 0, 0)
		got[i] = errno == 0
	}
	return func() {
		for i, s := range signals {
			if got[i] {
				syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&kept[i])), 0, maskSize, 0, 0)
			}
		}
	}
}
