package atomicfile

import (
	"errors"
	"syscall"
	"time"
)

const (
	fileFlagDeleteOnClose               = 0x04000000
	errorSharingViolation syscall.Errno = 32
	errorDeletePending    syscall.Errno = 303
)

// tryLock opens the file without sharing it; the system removes it with its only handle, also that of a process that ended.
func tryLock(path string) (unlock func(), err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	var h syscall.Handle
	for range 20 {
		h, err = syscall.CreateFile(name, syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS,
			syscall.FILE_ATTRIBUTE_NORMAL|fileFlagDeleteOnClose, 0)
		if !errors.Is(err, syscall.ERROR_ACCESS_DENIED) {
			break
		}
		time.Sleep(time.Millisecond) // also what is said of a file that is about to go
	}
	if errors.Is(err, errorSharingViolation) || errors.Is(err, errorDeletePending) {
		return nil, errLocked
	}
	if err != nil {
		return nil, err
	}
	return func() { syscall.CloseHandle(h) }, nil
}
