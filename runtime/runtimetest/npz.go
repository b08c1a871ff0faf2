package runtimetest

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"testing"
)

// header is what numpy writes before the elements of an array of int64 with two axes.
var header = regexp.MustCompile(`'descr': '<i8', 'fortran_order': False, 'shape': \((\d+), (\d+)\)`)

// readInts reads one such array of a file of the test data. It is no reader for files that others bring.
func readInts(t *testing.T, path, array string) (v []int64, columns int) {
	t.Helper()
	v, columns, err := ints(path, array)
	if err != nil {
		t.Fatalf("%s: array %q: %v", path, array, err)
	}
	return v, columns
}

func ints(path, array string) ([]int64, int, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, 0, err
	}
	defer z.Close()
	f, err := z.Open(array + ".npy")
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, 0, err
	}
	// "\x93NUMPY", the version 1.0, the length of the header.
	const fixed = 10
	if len(b) < fixed || b[6] != 1 || len(b) < fixed+int(binary.LittleEndian.Uint16(b[8:])) {
		return nil, 0, fmt.Errorf("not in npy format 1.0")
	}
	end := fixed + int(binary.LittleEndian.Uint16(b[8:]))
	m := header.FindSubmatch(b[fixed:end])
	if m == nil {
		return nil, 0, fmt.Errorf("header %q, want int64 with two axes", b[fixed:end])
	}
	rows, _ := strconv.Atoi(string(m[1]))
	columns, _ := strconv.Atoi(string(m[2]))
	b = b[end:]
	if len(b) != rows*columns*8 {
		return nil, 0, fmt.Errorf("%d bytes, want %d times %d elements", len(b), rows, columns)
	}
	v := make([]int64, rows*columns)
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(b[i*8:]))
	}
	return v, columns, nil
}
