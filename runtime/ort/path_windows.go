package ort

import (
	"syscall"
	"unsafe"
)

// fileName is path in the characters that ONNX Runtime takes for a file's name on this platform.
func fileName(path string) (unsafe.Pointer, error) {
	p, err := syscall.UTF16PtrFromString(path)
	return unsafe.Pointer(p), err
}
