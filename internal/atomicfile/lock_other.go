//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package atomicfile

import (
	"errors"
	"fmt"
)

func tryLock(path string) (unlock func(), err error) {
	return nil, fmt.Errorf("%s: lock: %w", path, errors.ErrUnsupported)
}
