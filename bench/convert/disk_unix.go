//go:build linux || darwin

package main

import "syscall"

// freeBytes is what an ordinary user may still write on the file system of dir.
func freeBytes(dir string) (free int64, known bool, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	return int64(s.Bavail) * int64(s.Bsize), true, nil
}
