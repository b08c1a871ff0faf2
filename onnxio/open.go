package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// File is an opened model. Its tensors are views of the mapped files and end with Close.
type File struct {
	Model    *graph.Model
	Path     string
	Bytes    int64          // size of the model file itself
	External []ExternalFile // in the order of first use

	file *mapfile.File
	ext  *externals
}

// Open maps the model at path and the data files that it names, and decodes all but the tensor data. An error is one line that
// says what is wrong with which part of which file.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{
		Path: path, Bytes: m.Info().Size(), file: m,
		ext: &externals{dir: filepath.Dir(path), files: map[string]*mapfile.File{}},
	}
	err = mapfile.Guard(func() (err error) {
		f.Model, err = parse(m.Bytes(), f.ext)
		return err
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.External = f.ext.list
	f.Model.Origin.(*modelOrigin).file = f
	return f, nil
}

// Close unmaps the files. The tensors of the model must not be used any more.
func (f *File) Close() error {
	err := f.ext.close()
	if e := f.file.Close(); e != nil {
		err = e
	}
	return err
}

// Unmarshal decodes a model that is in memory, whose tensors are views of b. Data in other files is an error.
func Unmarshal(b []byte) (*graph.Model, error) { return parse(b, nil) }

func parse(b []byte, ext *externals) (*graph.Model, error) {
	if len(b) == 0 {
		return nil, errors.New("empty file, want an ONNX model")
	}
	if isSafetensors(b) {
		return nil, errors.New("a safetensors file, want an ONNX model")
	}
	small, err := strip(b, modelKind)
	if err != nil {
		return nil, fmt.Errorf("not an ONNX model: %w", err)
	}
	pb := new(onnxpb.ModelProto)
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth}).Unmarshal(small, pb); err != nil {
		// The text of protobuf's error changes from build to build.
		return nil, fmt.Errorf("not an ONNX model: a part of it is no protobuf message or nests deeper than %d messages", maxDepth)
	}
	if err := checkHeader(pb); err != nil {
		return nil, err
	}
	m, err := decoder{&source{data: b, external: ext}}.model(pb)
	if err != nil {
		return nil, err
	}
	if err := checkModel(m); err != nil {
		return nil, err
	}
	return m, nil
}

// isSafetensors knows the other format that models come in by its beginning: the length of a header, and the header, which is JSON.
func isSafetensors(b []byte) bool {
	return len(b) >= 10 && b[8] == '{' && binary.LittleEndian.Uint64(b) <= uint64(len(b)-8)
}
