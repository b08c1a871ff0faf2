package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// ExternalFile is a file beside the model that holds tensor data.
type ExternalFile struct {
	Location string // as the model names it, relative to the model's folder
	Path     string
	Bytes    int64
}

// externals maps the data files of one model, each once.
type externals struct {
	dir   string
	files map[string]*mapfile.File
	list  []ExternalFile
}

// bytes is the part of a data file that entries describe, want bytes long.
//
// Keys: location, offset (default 0), length (default, and 0 as runtimes read it, means what the tensor needs), checksum and
// basepath (known to ONNX, not used), prepacked_* (ONNX Runtime's copies of a weight in another layout, not used). Any other key
// is an error, as it is in ONNX Runtime: it could change what the others mean.
func (x *externals) bytes(entries []*onnxpb.StringStringEntryProto, want int64) ([]byte, error) {
	location, offset, length := "", int64(0), int64(0)
	var has bool
	for _, e := range entries {
		var err error
		switch key := e.GetKey(); key {
		case "location":
			if has && location != e.GetValue() {
				return nil, fmt.Errorf("external data has two locations, %s and %s", quoteShort(location), quoteShort(e.GetValue()))
			}
			location, has = e.GetValue(), true
		case "offset":
			offset, err = externalNumber("offset", e.GetValue())
		case "length":
			length, err = externalNumber("length", e.GetValue())
		case "checksum", "basepath":
		default:
			if !strings.HasPrefix(key, "prepacked_") {
				return nil, fmt.Errorf("external data %s: unknown key %s", quoteShort(location), quoteShort(key))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if !has {
		return nil, errors.New("external data names no location")
	}
	if length != 0 && length != want {
		return nil, fmt.Errorf("external data %s: length %d, want %d", quoteShort(location), length, want)
	}
	f, err := x.open(location)
	if err != nil {
		return nil, fmt.Errorf("external data %s: %w", quoteShort(location), err)
	}
	data := f.Bytes()
	if offset > int64(len(data)) || want > int64(len(data))-offset {
		return nil, fmt.Errorf("external data %s: %d bytes at offset %d are past the file's end at %d", quoteShort(location), want, offset, len(data))
	}
	return data[offset : offset+want : offset+want], nil
}

func externalNumber(key, value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case strings.HasPrefix(value, "-"):
		return 0, fmt.Errorf("external data: %s %s is negative", key, quoteShort(value))
	case errors.Is(err, strconv.ErrRange), err == nil && n > math.MaxInt64:
		return 0, fmt.Errorf("external data: %s %s is too large", key, quoteShort(value))
	case err != nil:
		return 0, fmt.Errorf("external data: %s %s is not a number", key, quoteShort(value))
	}
	return int64(n), nil
}

// quoteShort quotes text from a file for an error message of one line.
func quoteShort(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strconv.Quote(s)
}

// checkLocation refuses every location but a plain relative POSIX path that stays in the model's folder, on whatever system.
func checkLocation(location string) error {
	switch {
	case location == "":
		return errors.New("location is empty")
	case strings.ContainsRune(location, 0):
		return errors.New("location has a zero byte")
	case strings.HasPrefix(location, "/"):
		return errors.New("location is an absolute path, want one relative to the model's folder")
	case strings.Contains(location, `\`):
		return errors.New("location has a backslash, want a POSIX path")
	case len(location) > 1 && location[1] == ':':
		return errors.New("location has a drive letter, want a path relative to the model's folder")
	}
	for part := range strings.SplitSeq(location, "/") {
		switch part {
		case "..":
			return errors.New("location leaves the model's folder")
		case "":
			return errors.New("location has an empty path element")
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(location)) { // names that Windows reserves
		return errors.New("location is not a path inside the model's folder")
	}
	return nil
}

// open maps the file at location. No element of the path may be a symbolic link and the file may have no second name, as in onnx's
// checker: either could make a file from elsewhere part of the model.
func (x *externals) open(location string) (*mapfile.File, error) {
	if err := checkLocation(location); err != nil {
		return nil, err
	}
	name := filepath.Clean(filepath.FromSlash(location))
	if f := x.files[name]; f != nil {
		return f, nil
	}
	root, err := os.OpenRoot(x.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var info fs.FileInfo
	for end := 0; end < len(name); end++ {
		if end+1 < len(name) && !os.IsPathSeparator(name[end+1]) {
			continue
		}
		info, err = root.Lstat(name[:end+1])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("no file %s", filepath.Join(x.dir, name))
		case err != nil:
			return nil, err
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, fmt.Errorf("%s is a symbolic link, want a file", filepath.Join(x.dir, name[:end+1]))
		}
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", filepath.Join(x.dir, name))
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, opened) {
		return nil, fmt.Errorf("%s changed while it was opened", filepath.Join(x.dir, name))
	}
	links, err := linkCount(f)
	if err != nil {
		return nil, err
	}
	if links > 1 {
		return nil, fmt.Errorf("%s has %d hard links, want a file with one name", filepath.Join(x.dir, name), links)
	}
	m, err := mapfile.New(f)
	if err != nil {
		return nil, err
	}
	x.files[name] = m
	x.list = append(x.list, ExternalFile{Location: location, Path: filepath.Join(x.dir, name), Bytes: opened.Size()})
	return m, nil
}

func (x *externals) close() error {
	var errs []error
	for _, f := range x.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
