package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

const syncFileRangeWrite = 2 // SYNC_FILE_RANGE_WRITE of linux/fs.h

// reserve compares with the free space instead of allocating it: allocated but unwritten extents make the writes themselves slower.
func reserve(f *os.File, size int64) error {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil || s.Bsize <= 0 || s.Blocks == 0 {
		return nil // unknown: let the write tell
	}
	if free := s.Bavail; size > 0 && uint64(size) > free*uint64(s.Bsize) {
		return syscall.ENOSPC
	}
	return nil
}

func flush(f *os.File, off, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, syncFileRangeWrite)
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) }
