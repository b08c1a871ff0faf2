//go:build !linux && !darwin

package samples

import "fmt"

// allocate is memory of size bytes, and what gives it back.
func allocate(size int64) ([]byte, func(), error) {
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("%d bytes of memory: more than this machine can address", size)
	}
	return make([]byte, size), func() {}, nil
}
