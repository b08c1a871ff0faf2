//go:build !linux && !windows

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

func reserve(*os.File, int64) error { return nil }

func flush(*os.File, int64, int64) {}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) }
