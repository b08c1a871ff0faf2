package onnxio

// The rules by which a model is written, beside those of package atomicfile, which hold for each file:
//
//  1. The model is one file, unless it would exceed the limit or external data is asked for. Then initializers of Threshold bytes
//     and more go to one data file beside it; tensors in attributes follow only where the rest is still too large.
//  2. The data file is called NAME.DIGEST.data, NAME being the model's whole name and DIGEST the 64-bit xxHash of its content in 16
//     hexadecimal digits, so that no name changes its meaning. It is renamed before the model that points at it.
//  3. A data file that the replaced model points at, by a name of this form, is removed last, unless a model in the same folder,
//     under whatever name, points at it still.
//  4. The output is none of the files that the model was read from; nor is the data file, unless the two are equal: then it stays.
//  5. Until the model is renamed the old model and its data are as they were; what a failed save made is removed.
//  6. What is written does not depend on anything outside: tensors that lay in other files are copied.
//  7. Renaming and removing, from the first look at what is there, happen under the folder's lock, so that saves at the same time end
//     as if one had come after the other. Where folders cannot be locked, files are renamed and none is removed: since a name means
//     one content, that harms nobody.
//  8. Temporary files that a program left that was killed are removed a day later.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Limits of a save, where SaveOptions says nothing else.
const (
	DefaultThreshold   = 1024
	DefaultInlineLimit = 1<<31 - 1 // what protobuf libraries take
)

// SaveOptions chooses how a model is written. The zero value is the default.
type SaveOptions struct {
	ExternalData bool // use a data file even where the model fits into one file
	// Threshold is the number of bytes from which a tensor goes to the data file; 0 means DefaultThreshold. Runtimes infer shapes
	// from small integer tensors and do not look for those in other files, so a much lower one makes models that do not load.
	Threshold   int64
	InlineLimit int64 // most bytes of the model file; 0 means DefaultInlineLimit
	// Progress hears of bytes written so far and in all, from the goroutine that calls Save.
	Progress func(done, total int64)
}

// FileInfo describes a file that was written.
type FileInfo struct {
	Path  string
	Bytes int64
	// Digest is that of the bytes, in hexadecimal: SHA-256 for a model, the 64-bit xxHash for a data file.
	Digest string
}

// SaveResult describes what Save wrote: the model first, then its data file, where there is one.
type SaveResult struct {
	Bytes int64 // of all files
	Files []FileInfo
}

// Sizes are the sizes of what Save would write.
type Sizes struct {
	Model int64
	Data  int64 // of the data file, 0 when there is none
}

// Plan gives the sizes of the files that Save would write to path. No tensor is computed and nothing written.
func Plan(path string, m *graph.Model, opt SaveOptions) (Sizes, error) {
	l, err := lay(path, m, opt)
	if err != nil {
		return Sizes{}, err
	}
	return Sizes{Model: l.model.size, Data: l.dataSize}, nil
}

// Write streams the model to w as one file, with every tensor inside; it must fit under the limit of one file. A cancelled context
// stops it with the context's cause, part of the model written.
func Write(ctx context.Context, w io.Writer, m *graph.Model, progress func(done, total int64)) (FileInfo, error) {
	l, err := layAs(m, allInline, 0, "")
	if err != nil {
		return FileInfo{}, err
	}
	size := l.model.size
	if size > DefaultInlineLimit {
		return FileInfo{}, fmt.Errorf("the model has %d bytes, and one file holds at most %d", size, int64(DefaultInlineLimit))
	}
	sum := sha256.New()
	err = stream(ctx, w, l.model.parts, sum, func(written int64) error {
		if progress != nil {
			progress(written, size)
		}
		return nil
	})
	return FileInfo{Bytes: size, Digest: hex.EncodeToString(sum.Sum(nil))}, err
}

// Marshal is the model as one file in memory, for models that are small. Every tensor is inside.
func Marshal(m *graph.Model) ([]byte, error) {
	l, err := layAs(m, allInline, 0, "")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = mapfile.Guard(func() error {
		for _, p := range l.model.parts {
			if _, err := p.WriteTo(&b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && int64(b.Len()) != l.model.size {
		err = fmt.Errorf("tensor data wrote %d bytes, want %d", b.Len(), l.model.size)
	}
	return b.Bytes(), err
}

// layout is a model ready to be written.
type layout struct {
	pb       *onnxpb.ModelProto
	blobs    []tensor.Data
	model    *rope
	data     []tensor.Data
	dataSize int64
	location *string // in pb, of all tensors in the data file
}

// lay chooses what goes where.
func lay(path string, m *graph.Model, opt SaveOptions) (*layout, error) {
	limit, threshold := opt.InlineLimit, opt.Threshold
	if limit == 0 {
		limit = DefaultInlineLimit
	}
	if threshold == 0 {
		threshold = DefaultThreshold
	}
	place := allInline
	if opt.ExternalData {
		place = initializersOut
	}
	for ; ; place++ {
		l, err := layAs(m, place, threshold, dataName(path, strings.Repeat("0", digestLength)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if l.model.size <= limit {
			if l.dataSize > 0 {
				if err := checkDataName(path, *l.location); err != nil {
					return nil, err
				}
			}
			return l, nil
		}
		if place == attributesOut {
			return nil, fmt.Errorf("%s: model file would have %d bytes, at most %d are allowed, with all tensors of %d bytes and more outside",
				path, l.model.size, limit, threshold)
		}
	}
}

// checkDataName finds before any writing that the data file could not have its name, or could not be found under it.
func checkDataName(path, name string) error {
	if err := checkLocation(name); err != nil {
		return fmt.Errorf("%s: data file %q: %w: choose another output name", path, name, err)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(path), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: data file: %w", path, err)
	}
	return nil
}

func layAs(m *graph.Model, place placement, threshold int64, location string) (*layout, error) {
	e := &encoder{place: place, threshold: threshold, location: &location}
	pb, err := e.model(m)
	if err != nil {
		return nil, err
	}
	l := &layout{pb: pb, blobs: e.blobs, data: e.outside, dataSize: e.offset, location: &location}
	return l, l.marshal()
}

// marshal makes the rope of the model file; again after the location has changed.
func (l *layout) marshal() error {
	small, err := proto.MarshalOptions{Deterministic: true}.Marshal(l.pb)
	if err != nil {
		return err
	}
	l.model, err = expand(small, modelKind, l.blobs)
	return err
}

// Save writes m to path by the rules at the top of this file. A cancelled context stops it with the context's cause.
func Save(ctx context.Context, path string, m *graph.Model, opt SaveOptions) (SaveResult, error) {
	if err := checkOutput(path, m); err != nil {
		return SaveResult{}, err
	}
	l, err := lay(path, m, opt)
	if err != nil {
		return SaveResult{}, err
	}
	s := &saver{ctx: ctx, total: l.model.size + l.dataSize, progress: opt.Progress}

	var data *atomicfile.File
	var dataInfo FileInfo
	if l.dataSize > 0 {
		if data, dataInfo, err = s.write(path, l.data, l.dataSize, xxhash.New()); err != nil {
			return SaveResult{}, err
		}
		defer data.Discard()
		*l.location = dataName(path, dataInfo.Digest)
		dataInfo.Path = filepath.Join(filepath.Dir(path), *l.location)
		if err := l.marshal(); err != nil {
			return SaveResult{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	model, modelInfo, err := s.write(path, l.model.parts, l.model.size, sha256.New())
	if err != nil {
		return SaveResult{}, err
	}
	defer model.Discard()

	// Everything is on the disk: from here on there are only renames and removals.
	if err := commit(ctx, path, m, model, data, dataInfo); err != nil {
		return SaveResult{}, err
	}
	result := SaveResult{Bytes: s.done, Files: []FileInfo{modelInfo}}
	if data != nil {
		result.Files = append(result.Files, dataInfo)
	}
	return result, nil
}

// commit gives the finished files their names, and removes what is of no use any more. There is no data file where data is nil.
func commit(ctx context.Context, path string, m *graph.Model, model, data *atomicfile.File, dataInfo FileInfo) error {
	dir := filepath.Dir(path)
	unlock, err := atomicfile.Lock(ctx, dir)
	locked := err == nil
	if locked {
		defer unlock()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stale := ownDataFiles(path)
	isNew := false // the data file: nobody can need it before the model is there
	if data != nil {
		_, err := os.Lstat(dataInfo.Path)
		isNew = errors.Is(err, fs.ErrNotExist)
		keep, err := keepsSource(path, m, dataInfo)
		if err != nil {
			return err
		}
		if !keep {
			err = data.CommitAs(dataInfo.Path)
		}
		if err != nil {
			if isNew && data.Renamed() && locked {
				os.Remove(dataInfo.Path)
			}
			return err
		}
	}
	if err := model.Commit(); err != nil {
		if isNew && !model.Renamed() && locked {
			os.Remove(dataInfo.Path)
		}
		return err
	}
	if locked {
		removeUnused(dir, slices.DeleteFunc(stale, func(name string) bool { return isSource(filepath.Join(dir, name), m) }))
		atomicfile.RemoveAbandoned(dir)
	}
	return nil
}

// keepsSource reports whether the data file is there already as a file that m is read from. With other content it is an error.
func keepsSource(path string, m *graph.Model, data FileInfo) (bool, error) {
	in := sourceOf(data.Path, m)
	if in == "" {
		return false, nil
	}
	equal, err := hasDigest(data.Path, data.Bytes, data.Digest)
	if err == nil && !equal {
		err = fmt.Errorf("%s: data file %q is the same file as the input %s, which has other content: choose another output name",
			path, filepath.Base(data.Path), in)
	}
	return equal, err
}

// checkOutput refuses to write over what the model is read from.
func checkOutput(path string, m *graph.Model) error {
	if in := sourceOf(path, m); in != "" {
		return fmt.Errorf("%s: output is the same file as the input %s", path, in)
	}
	return nil
}

func isSource(path string, m *graph.Model) bool { return sourceOf(path, m) != "" }

// sourceOf is the file that m was read from and that path is another name of, "" when there is none.
func sourceOf(path string, m *graph.Model) string {
	o, _ := m.Origin.(*modelOrigin)
	if o == nil || o.file == nil {
		return ""
	}
	if atomicfile.SameFile(path, o.file.Path) {
		return o.file.Path
	}
	for _, x := range o.file.External {
		if atomicfile.SameFile(path, x.Path) {
			return x.Path
		}
	}
	return ""
}

// saver writes the files of one save.
type saver struct {
	ctx      context.Context
	done     int64
	total    int64
	progress func(done, total int64)
}

// flushEvery is how many bytes are written before the system is asked to bring them to the disk: the sync at the end would
// otherwise find all of them waiting.
const flushEvery = 32 << 20

// write makes a temporary file for path of parts, synced but not renamed.
func (s *saver) write(path string, parts []tensor.Data, size int64, sum hash.Hash) (*atomicfile.File, FileInfo, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, FileInfo{}, err
	}
	if err := s.fill(f, parts, size, sum); err != nil {
		f.Discard()
		return nil, FileInfo{}, err
	}
	return f, FileInfo{Path: path, Bytes: size, Digest: hex.EncodeToString(sum.Sum(nil))}, nil
}

func (s *saver) fill(f *atomicfile.File, parts []tensor.Data, size int64, sum hash.Hash) error {
	if err := f.Reserve(size); err != nil {
		return err
	}
	before, flushed := s.done, int64(0)
	err := stream(s.ctx, f, parts, sum, func(written int64) error {
		if written-flushed >= flushEvery {
			f.Flush(flushed, written-flushed)
			flushed = written
		}
		s.done = before + written
		if s.progress != nil {
			s.progress(s.done, s.total)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.done-before != size {
		return fmt.Errorf("wrote %d bytes, want %d", s.done-before, size)
	}
	return f.Sync()
}
