package mapfile

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
)

// File is one mapped file. Its pages belong to the page cache, so a large file costs address space, not memory.
type File struct {
	data []byte
	info os.FileInfo
}

// New maps f whole, which must be a regular file; f may be closed afterwards.
func New(f *os.File) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("got a %s, want a regular file", kind(info.Mode()))
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%d bytes exceed this machine's address space", info.Size())
	}
	m := &File{info: info}
	if info.Size() == 0 { // no system maps zero bytes
		return m, nil
	}
	if m.data, err = mapRead(f, int(info.Size())); err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", info.Size(), err)
	}
	return m, nil
}

// Open maps the file at path.
func Open(path string) (*File, error) {
	// A named pipe would block in Open until somebody writes to it.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: got a %s, want a regular file", path, kind(info.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := New(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func kind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&os.ModeNamedPipe != 0:
		return "named pipe"
	case m&os.ModeDevice != 0:
		return "device"
	case m&os.ModeSocket != 0:
		return "socket"
	case m&os.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}

// Bytes is the content. It must not be written to, and not be used after Close.
func (m *File) Bytes() []byte { return m.data }

// Info describes the file as it was when it was mapped.
func (m *File) Info() os.FileInfo { return m.info }

// Close unmaps the file; every slice of Bytes is invalid from then on.
func (m *File) Close() error {
	if m.data == nil {
		return nil
	}
	data := m.data
	m.data = nil
	return unmap(data)
}

// Guard runs f, which reads mapped bytes, and turns the fault of a page that is no longer there (the file was cut short meanwhile,
// or the disk failed) into an error. It holds for this goroutine alone: goroutines that f starts need their own.
func Guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // what a fault's runtime.Error has and no other one
			err = fmt.Errorf("a mapped file could not be read: it was cut short or its disk failed")
		default:
			panic(p)
		}
	}()
	return f()
}
