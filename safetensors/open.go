package safetensors

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// maxHeader is the limit that the reference implementation sets.
const maxHeader = 100_000_000

// Tensor is a tensor with its name.
type Tensor struct {
	Name string
	*tensor.Tensor
}

// File is an open file.
type File struct {
	Tensors  []Tensor          // in the order of their bytes
	Metadata map[string]string // nil where the file has none

	byName map[string]*tensor.Tensor
	m      *mapfile.File
}

// Open maps the file at path and reads its header.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	var f *File
	if err := mapfile.Guard(func() (err error) {
		f, err = Parse(m.Bytes())
		return err
	}); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.m = m
	return f, nil
}

// Close unmaps the file: the content of its tensors is invalid from then on.
func (f *File) Close() error {
	if f.m == nil {
		return nil
	}
	return f.m.Close()
}

// Tensor is the tensor of this name, nil where there is none.
func (f *File) Tensor(name string) *tensor.Tensor { return f.byName[name] }

// Parse reads a file that lies in memory. The tensors are views of b.
func Parse(b []byte) (*File, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: %d bytes, want at least 8", ErrTruncated, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, fmt.Errorf("%w: it declares %d bytes", ErrHeaderSize, n)
	}
	if n > uint64(len(b)-8) {
		return nil, fmt.Errorf("%w: the header declares %d bytes and %d follow", ErrTruncated, n, len(b)-8)
	}
	header, data := b[8:8+n], b[8+n:]
	if n == 0 || header[0] != '{' {
		return nil, fmt.Errorf("%w: got %q", ErrHeaderStart, header[:min(n, 8)])
	}
	if !utf8.Valid(header) {
		return nil, ErrUTF8
	}
	entries, metadata, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	// Empty tensors lie where another begins, so they come before it.
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.begin < b.begin || a.begin == b.begin && a.end < b.end:
			return -1
		case a.begin == b.begin && a.end == b.end:
			return 0
		}
		return 1
	})
	f := &File{Metadata: metadata, Tensors: make([]Tensor, 0, len(entries)), byName: make(map[string]*tensor.Tensor, len(entries))}
	end := uint64(0)
	for i, e := range entries {
		size, err := e.size()
		switch {
		case err != nil:
		case e.end < e.begin:
			err = fmt.Errorf("%w: data_offsets [%d,%d]", ErrOffsets, e.begin, e.end)
		case e.end-e.begin != uint64(size):
			err = fmt.Errorf("%w: %s%s takes %d bytes, data_offsets [%d,%d] hold %d", ErrSize, e.dtype, e.shape, size, e.begin, e.end,
				e.end-e.begin)
		case e.end > uint64(len(data)):
			err = fmt.Errorf("%w: data_offsets [%d,%d] of %d bytes", ErrOutOfBounds, e.begin, e.end, len(data))
		case e.begin < end:
			err = fmt.Errorf("%w: data_offsets [%d,%d], and tensor %q ends at %d", ErrOverlap, e.begin, e.end, entries[i-1].name, end)
		case e.begin > end:
			err = fmt.Errorf("%w: %d bytes from %d on", ErrGap, e.begin-end, end)
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		end = e.end
		t, err := tensor.New(e.dtype, e.shape, tensor.Bytes(data[e.begin:e.end:e.end]))
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		f.Tensors = append(f.Tensors, Tensor{e.name, t})
		f.byName[e.name] = t
	}
	if end != uint64(len(data)) {
		return nil, fmt.Errorf("%w: the tensors end at %d of %d", ErrTrailing, end, len(data))
	}
	return f, nil
}

// size is the number of bytes that type and shape ask for.
func (e *entry) size() (int64, error) {
	n, err := e.shape.Elements()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrOverflow, err)
	}
	size, err := e.dtype.ByteSize(n)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrOverflow, err)
	}
	if bits := int64(e.dtype.Bits()); bits < 8 && n*bits%8 != 0 {
		return 0, fmt.Errorf("%w: %d elements of %s", ErrPartialByte, n, e.dtype)
	}
	return size, nil
}
