package ort

import (
	"context"
	"errors"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// name is how the engine is called in messages and on the command line.
const name = "ort"

// Backend is ONNX Runtime, found when it is first needed.
type Backend struct {
	path string
	once sync.Once
	lib  *library
	err  error
}

var _ runtime.Backend = (*Backend)(nil)

// New is ONNX Runtime from the library at path, or in the folder path. With "" it is looked for: the file that the environment
// variable FP8REWRITE_ORT_LIB names, and nothing else where it is set; else what the system's loader finds, the usual folders, the
// folder of the program, and the Python package of an active virtual environment, in that order. Nothing is opened before it is
// needed.
func New(path string) *Backend { return &Backend{path: path} }

// Name is "ort".
func (b *Backend) Name() string { return name }

// Check loads the library, once; the error is a [runtime.UnavailableError] that lists where it was looked for.
func (b *Backend) Check() error {
	b.once.Do(func() { b.lib, b.err = load(b.path) })
	return b.err
}

// Version is the library's own version and file, "" where there is none.
func (b *Backend) Version() (version, path string) {
	if b.Check() != nil {
		return "", ""
	}
	return b.lib.version, b.lib.path
}

// Open hands m to ONNX Runtime. A model of up to 128 MiB goes through memory, a larger one through a temporary folder, in which it
// needs as many bytes again.
func (b *Backend) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opt.MaxMemory > 0 {
		return nil, errors.New("ort: a bound on memory is not possible, ONNX Runtime takes what it needs")
	}
	p, err := prepare(m, opt)
	if err != nil {
		return nil, err
	}
	s, err := b.lib.open(ctx, p, opt.Threads)
	if err != nil {
		return nil, err
	}
	return s, nil
}
