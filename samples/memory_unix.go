//go:build linux || darwin

package samples

import (
	"fmt"
	"syscall"
)

// outside is the size from which memory is not the garbage collector's: it would let as much garbage lie around before it sets to work, and
// it ends the program where there is no more.
const outside = 1 << 20

// allocate is memory of size bytes, and what gives it back.
func allocate(size int64) ([]byte, func(), error) {
	if size < outside {
		return make([]byte, size), func() {}, nil
	}
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("%d bytes of memory: more than this machine can address", size)
	}
	b, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("%d bytes of memory: %w", size, err)
	}
	return b, func() { _ = syscall.Munmap(b) }, nil
}
