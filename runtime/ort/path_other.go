//go:build !windows

package ort

import "unsafe"

// fileName is path in the characters that ONNX Runtime takes for a file's name on this platform.
func fileName(path string) (unsafe.Pointer, error) {
	return unsafe.Pointer(&cstring(path)[0]), nil
}
