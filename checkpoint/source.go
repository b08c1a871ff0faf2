package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
)

// The files of a folder that have a meaning here.
const (
	configFile = "config.json"
	suffix     = ".safetensors"
	moFile     = "hf_quant_config.json"
)

// Source is an open checkpoint.
type Source struct {
	Path   string
	Folder bool
	Config *Config // nil for a single file, and for a folder without config.json
	Shards []*Shard
	Index  string   // name of the index file; "" where there is none
	Others []string // files that are copied, relative to the folder, with forward slashes, sorted

	tensors map[string]*stored
}

// Shard is one file of tensors.
type Shard struct {
	Name string // within the folder
	File *safetensors.File
	Size int64
	path string
}

// stored is a tensor and the shard it lies in.
type stored struct {
	safetensors.Tensor
	shard int
}

// IsCheckpoint reports whether path is what Open reads, by its name alone, or for a folder by the names of the files in it.
func IsCheckpoint(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return strings.HasSuffix(strings.ToLower(path), suffix)
	}
	list, err := os.ReadDir(path)
	return err == nil && slices.ContainsFunc(list, func(e fs.DirEntry) bool {
		return strings.HasSuffix(e.Name(), suffix) || strings.HasSuffix(e.Name(), safetensors.IndexSuffix) || e.Name() == configFile
	})
}

// Open opens the .safetensors file, or the folder, at path. A folder has an index, or one file of tensors. Of the rest of a folder, hidden files
// and folders are left out: those are version control and download caches.
func Open(path string) (_ *Source, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Path: path, Folder: info.IsDir(), tensors: map[string]*stored{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if !s.Folder {
		if err := s.add(filepath.Base(path), path); err != nil {
			return nil, err
		}
		return s, nil
	}
	files, err := s.list()
	if err != nil {
		return nil, err
	}
	names, err := s.shardNames(files)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.add(name, filepath.Join(path, name)); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		if f != s.Index && f != configFile && !slices.Contains(names, f) {
			s.Others = append(s.Others, f)
		}
	}
	if slices.Contains(files, configFile) {
		b, err := readSmall(filepath.Join(path, configFile))
		if err != nil {
			return nil, err
		}
		if s.Config, err = ParseConfig(b); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(path, configFile), err)
		}
	}
	return s, nil
}

// maxSmall bounds what is read whole: settings and indices.
const maxSmall = 100 << 20

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmall {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes", path, maxSmall)
	}
	return os.ReadFile(path)
}

// Close unmaps all shards.
func (s *Source) Close() error {
	var errs []error
	for _, sh := range s.Shards {
		errs = append(errs, sh.File.Close())
	}
	return errors.Join(errs...)
}

// list is the files of the folder, sorted. Links are followed to files, as download caches make them; a link to a folder could lead out or around.
func (s *Source) list() ([]string, error) {
	var files []string
	root, err := filepath.EvalSymlinks(s.Path) // the folder itself may be a link
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") || atomicfile.IsTemporary(d.Name()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: is neither a file nor a folder of files, so it cannot be copied", path)
		}
		files = append(files, filepath.ToSlash(rel))
		return nil
	})
	slices.Sort(files)
	return files, err
}

// shardNames chooses the files of tensors: those of the index, else the one that is there, else model.safetensors.
func (s *Source) shardNames(files []string) ([]string, error) {
	var indices, alone []string
	for _, f := range files {
		switch {
		case strings.Contains(f, "/"):
		case strings.HasSuffix(f, safetensors.IndexSuffix):
			indices = append(indices, f)
		case strings.HasSuffix(f, suffix):
			alone = append(alone, f)
		}
	}
	usual := "model" + safetensors.IndexSuffix
	switch {
	case slices.Contains(indices, usual):
		s.Index = usual
	case slices.Contains(alone, "model"+suffix):
		return []string{"model" + suffix}, nil
	case len(indices) == 1:
		s.Index = indices[0]
	case len(indices) > 1:
		return nil, fmt.Errorf("%s: several indices %q, and none is called %q", s.Path, indices, usual)
	case len(alone) == 1:
		return alone, nil
	case len(alone) > 1:
		return nil, fmt.Errorf("%s: %d files of tensors, %q and others, and no index that says which belong together", s.Path, len(alone), alone[0])
	default:
		return nil, fmt.Errorf("%s: no .safetensors file in this folder", s.Path)
	}
	b, err := readSmall(filepath.Join(s.Path, s.Index))
	if err != nil {
		return nil, err
	}
	places, err := safetensors.ParseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(s.Path, s.Index), err)
	}
	var names []string
	for _, file := range places {
		names = append(names, file)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for name, file := range places {
		s.tensors[name] = &stored{shard: slices.Index(names, file)} // add fills it in, and finds what is missing
	}
	return names, nil
}

// add opens a shard. A tensor that the index places elsewhere, or that stands in two shards, is refused: loaders differ in which they take.
func (s *Source) add(name, path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	at := len(s.Shards)
	sh := &Shard{Name: name, File: f, path: path}
	s.Shards = append(s.Shards, sh)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	sh.Size = info.Size()
	for _, t := range f.Tensors {
		have := s.tensors[t.Name]
		switch {
		case have == nil && s.Index == "":
			s.tensors[t.Name] = &stored{Tensor: t, shard: at}
		case have == nil:
			return fmt.Errorf("%s: tensor %q is not in the index %q", path, t.Name, s.Index)
		case have.shard != at:
			return fmt.Errorf("%s: tensor %q is placed in another file by the index %q", path, t.Name, s.Index)
		default:
			have.Tensor = t
		}
	}
	for tensorName, t := range s.tensors {
		if t.shard == at && t.Tensor.Tensor == nil {
			return fmt.Errorf("%s: %w: %q in %q", s.Index, safetensors.ErrIndexMissing, tensorName, name)
		}
	}
	return nil
}

// Bytes is the size of all shards.
func (s *Source) Bytes() int64 {
	n := int64(0)
	for _, sh := range s.Shards {
		n += sh.Size
	}
	return n
}

// Files are the files of tensors with their hashes, for which all of them are read.
func (s *Source) Files() ([]FileInfo, error) {
	var list []FileInfo
	for _, sh := range s.Shards {
		sum, err := sh.hash()
		if err != nil {
			return nil, err
		}
		list = append(list, FileInfo{sh.Name, sh.Size, sum})
	}
	return list, nil
}

// copiedWeights are warnings of files that are copied although they look like weights: another spelling of the same model, mostly, which some
// loaders prefer.
func (s *Source) copiedWeights() []report.Warning {
	var list []report.Warning
	for _, name := range s.Others {
		switch strings.ToLower(filepath.Ext(name)) {
		case suffix, ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx":
			list = append(list, report.NewWarning(report.WarnWeightsCopied, name, name))
		}
	}
	return list
}
