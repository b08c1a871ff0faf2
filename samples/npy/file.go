package npy

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
)

// Array is one array of a file. Its header has been read, its elements have not.
type Array struct {
	Name   string // without .npy; "" in a .npy file
	Header Header

	// Unreadable says why the elements cannot be had: Python objects, text, dates and whatever else no model takes. The Header is empty
	// then. The array is listed all the same, since a file may hold some beside those that are wanted.
	Unreadable error

	view   []byte    // the elements where they lie in the mapped file; nil where they are compressed
	member *zip.File // of a .npz file
	bounds Options
}

// File is an open .npy or .npz file.
type File struct {
	Arrays []*Array // in the order of the file

	m *mapfile.File
}

// Options bound what reading may cost.
type Options struct {
	// MaxMemory is the largest number of bytes that one compressed array may unpack to; 0 means no bound.
	MaxMemory int64

	// Available is how many bytes the machine has for that; 0 means that nobody knows.
	Available int64
}

// What a compressed array may unpack to however much memory there is: this many bytes, or this many times its compressed size. Data of this
// size does not compress so well; what claims to is a few bytes that are meant to fill a machine.
const (
	maxUnlikely   = 1 << 30
	unlikelyRatio = 100
)

// Open maps the .npy file at path.
func Open(path string) (*File, error) {
	return open(path, func(b []byte) ([]*Array, error) {
		a, err := parse(b)
		if err != nil {
			return nil, err
		}
		return []*Array{a}, nil
	})
}

// OpenZip maps the .npz file at path and reads the headers of its arrays. Members that are no .npy files are passed over.
func OpenZip(path string, opt Options) (*File, error) {
	return open(path, func(b []byte) ([]*Array, error) { return parseZip(b, opt) })
}

func open(path string, read func([]byte) ([]*Array, error)) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{m: m}
	if err := mapfile.Guard(func() (err error) {
		f.Arrays, err = read(m.Bytes())
		return err
	}); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Close unmaps the file. Bytes of arrays that were stored uncompressed are invalid from then on.
func (f *File) Close() error { return f.m.Close() }

// parse reads a .npy file whole: nothing may follow the array, since a file with several arrays one after the other would otherwise
// lose all but the first without a word.
func parse(b []byte) (*Array, error) {
	h, err := ParseHeader(b)
	if unreadable(err) {
		return &Array{Unreadable: err}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkSize(h, int64(len(b))); err != nil {
		return nil, err
	}
	return &Array{Header: h, view: b[h.Offset:]}, nil
}

// unreadable reports whether an error is about the elements' type, so that the rest of the file may be in order.
func unreadable(err error) bool { return errors.Is(err, ErrPickle) || errors.Is(err, ErrUnsupported) }

func checkSize(h Header, total int64) error {
	got, want := total-h.Offset, h.Size()
	switch {
	case got < want:
		return fmt.Errorf("%w: %s%s has %d bytes of data, want %d", ErrTruncated, h.DType, h.Shape, got, want)
	case got > want:
		return fmt.Errorf("%s%s has %d bytes of data, want %d: something follows the array", h.DType, h.Shape, got, want)
	}
	return nil
}

// The largest factor that deflate can reach: 258 bytes from a code of two bits. A member that declares more is a lie.
const maxRatio = 1032

func parseZip(b []byte, opt Options) ([]*Array, error) {
	if len(b) == 0 {
		return nil, errors.New("the file is empty")
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // an array's name is no path
		if n := min(len(b), 4); string(b[:n]) == "PK\x03\x04"[:n] {
			return nil, fmt.Errorf("%w: a zip file without its directory: %w", ErrTruncated, err)
		}
		return nil, fmt.Errorf("no .npz file: %w", err)
	}
	var arrays []*Array
	seen := map[string]bool{}
	for _, f := range z.File {
		name, is := strings.CutSuffix(f.Name, ".npy")
		if !is {
			continue
		}
		if seen[name] {
			return nil, fmt.Errorf("two arrays are called %q", name)
		}
		seen[name] = true
		a, err := parseMember(b, f, opt)
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
		a.Name = name
		arrays = append(arrays, a)
	}
	return arrays, nil
}

func parseMember(b []byte, f *zip.File, opt Options) (*Array, error) {
	const encrypted = 1
	if f.Flags&encrypted != 0 {
		return nil, errors.New("it is encrypted")
	}
	size := f.UncompressedSize64
	switch f.Method {
	case zip.Store:
		at, err := f.DataOffset()
		if err != nil {
			return nil, memberError(err)
		}
		if f.CompressedSize64 != size {
			return nil, fmt.Errorf("stored as it is with %d bytes in the file and %d outside", f.CompressedSize64, size)
		}
		if at < 0 || at > int64(len(b)) || size > uint64(int64(len(b))-at) {
			return nil, fmt.Errorf("%w: it lies at %d with %d bytes, the file has %d", ErrTruncated, at, size, len(b))
		}
		data := b[at : at+int64(size)]
		a, err := parse(data)
		if err != nil {
			return nil, err
		}
		if a.Unreadable == nil {
			a.member = f
		}
		return a, nil
	case zip.Deflate:
		if size > f.CompressedSize64*maxRatio+maxRatio || f.CompressedSize64 > uint64(len(b)) {
			return nil, fmt.Errorf("it declares %d bytes unpacked from %d, more than compression can reach", size, f.CompressedSize64)
		}
		r, err := f.Open()
		if err != nil {
			return nil, memberError(err)
		}
		defer r.Close()
		prefix := make([]byte, min(size, PrefixSize))
		if _, err := io.ReadFull(r, prefix); err != nil {
			return nil, memberError(err)
		}
		h, err := ParseHeader(prefix)
		if unreadable(err) {
			return &Array{Unreadable: err}, nil
		}
		if err != nil {
			return nil, err
		}
		if err := checkSize(h, int64(size)); err != nil {
			return nil, err
		}
		return &Array{Header: h, member: f, bounds: opt}, nil
	}
	return nil, fmt.Errorf("compression method %d, want 0 (stored) or 8 (deflate)", f.Method)
}

func memberError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}

// Mapped reports whether Bytes is a view of the file, which costs no memory.
func (a *Array) Mapped() bool { return a.view != nil || a.Header.Size() == 0 }

// Bytes is the elements as they are stored, in the header's order of bytes and axes: a view of the file, or newly unpacked memory whose
// checksum was compared; the error of an array that cannot be read is Unreadable. Reading a view may fault where the file is cut short meanwhile: see mapfile.Guard.
func (a *Array) Bytes() ([]byte, error) {
	if a.Unreadable != nil {
		return nil, a.Unreadable
	}
	if a.Mapped() {
		return a.view, nil
	}
	if err := a.Check(); err != nil {
		return nil, err
	}
	data := make([]byte, a.Header.Size())
	if err := a.Unpack(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Check is the [MemoryError] of a compressed array that is larger than the bounds that the file was opened with. It reads nothing.
func (a *Array) Check() error {
	if a.Unreadable != nil || a.Mapped() {
		return nil
	}
	size, packed := a.Header.Size(), int64(a.member.CompressedSize64)
	switch {
	case a.bounds.MaxMemory > 0 && size > a.bounds.MaxMemory:
		return &MemoryError{Need: size, Have: a.bounds.MaxMemory, Packed: packed}
	case size > maxUnlikely && size/unlikelyRatio > packed:
		return &MemoryError{Need: size, Have: max(maxUnlikely, packed*unlikelyRatio), Packed: packed}
	case a.bounds.Available > 0 && size > a.bounds.Available:
		return &MemoryError{Need: size, Have: a.bounds.Available, Packed: packed}
	}
	return nil
}

// Unpack writes the elements of a compressed array to dst, which has Header.Size bytes, and compares their checksum. Memory and its bounds
// are the caller's: see Check.
func (a *Array) Unpack(dst []byte) error {
	if a.Unreadable != nil {
		return a.Unreadable
	}
	size := a.Header.Size()
	if int64(len(dst)) != size {
		return fmt.Errorf("%d bytes of memory for an array of %d", len(dst), size)
	}
	return mapfile.Guard(func() error {
		if a.Mapped() {
			copy(dst, a.view)
			return nil
		}
		r, err := a.member.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := io.CopyN(io.Discard, r, a.Header.Offset); err != nil {
			return memberError(err)
		}
		if _, err := io.ReadFull(r, dst); err != nil {
			return memberError(err)
		}
		// The reader compares the checksum when it sees the end.
		switch n, err := r.Read(make([]byte, 1)); {
		case n > 0:
			return fmt.Errorf("it unpacks to more than the %d bytes that it declares", a.Header.Offset+size)
		case err != io.EOF:
			return memberError(err)
		}
		return nil
	})
}

// Verify compares the checksum of an array that is a view of a .npz file; others were compared while they were unpacked, and a .npy
// file has none.
func (a *Array) Verify() error {
	if a.member == nil || a.member.Method != zip.Store {
		return nil
	}
	return mapfile.Guard(func() error {
		r, err := a.member.OpenRaw()
		if err != nil {
			return err
		}
		h := crc32.NewIEEE()
		if _, err := io.Copy(h, r); err != nil {
			return memberError(err)
		}
		if h.Sum32() != a.member.CRC32 {
			return zip.ErrChecksum
		}
		return nil
	})
}

// MemoryError says that an array unpacks to more than it may.
type MemoryError struct {
	Need, Have, Packed int64 // bytes
}

// Error gives the numbers and the ways out.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("%d bytes unpack to %d, and %d are allowed; an uncompressed file (numpy.savez, numpy.save) is read in place",
		e.Packed, e.Need, e.Have)
}
