package samples

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/samples/npy"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// DefaultMaxMemory is Options.MaxMemory where that is 0: 4 GiB.
const DefaultMaxMemory = 4 << 30

// Options say what the data is for.
type Options struct {
	// Model is the inputs to feed, in the order of the model. Without any, the set has arrays and no steps.
	Model []*graph.Value

	// Inputs names the array of an input. The others are found by Prefix and their own name.
	Inputs map[string]string

	// Prefix stands before the input's name in the array's, such as "calib_".
	Prefix string

	// Whole names inputs whose array is given whole at every step.
	Whole []string

	// BatchSize is the number of rows per step: 0 means what the model fixes, or the size of batches that the data has ready, or DefaultBatch.
	BatchSize int64

	// DefaultBatch is the number of rows per step where nothing else says one; 0 means 1.
	DefaultBatch int64

	// Steps is how many steps there are; 0 means as many as the data has. More than that is an error.
	Steps int

	// AllowNonFinite lets Inf and NaN through.
	AllowNonFinite bool

	// MaxMemory bounds in bytes what compressed arrays may unpack to, each by itself and all that are held at one time; 0 means
	// DefaultMaxMemory. Half of the memory that is free bounds them too, where the system says how much that is. Files that are read in place do not count.
	MaxMemory int64

	// DecodePB decodes an ONNX TensorProto. Without it, ONNX test sets are refused.
	DecodePB func([]byte) (name string, t *tensor.Tensor, err error)
}

// Set is open data. It is used by one goroutine at a time, but for Batch, Step and Aligned, which may be called at the same time.
type Set struct {
	reading   sync.Mutex // held while bytes are read: of the cache's, of f.kept
	path      string
	opt       Options
	files     []string           // in the order in which they were read
	parts     map[string][]*part // by name of the array
	names     []string           // of the arrays, in order of appearance
	numpy     map[string]bool    // arrays that are a .npy file: candidates for parts of name_0, name_1 …
	cache     cache
	available int64 // bytes for unpacked arrays; 0 where nobody knows
	closers   []func() error
	closed    bool

	feeds []*feed
	sets  []*testSet
	batch int64 // rows per step of arrays that are cut
	rows  int64 // of arrays that are cut; 0 where there are none
	left  int64 // rows that do not fill a fixed batch
	ready int64 // rows of a step of arrays that are lists of ready inputs; 0 where there are none
	steps int
	notes []string

	indivisible error // why rows of a step cannot be divided
}

// Open reads the headers of the data at path, finds the array of each input, and checks that it fits.
func Open(path string, opt Options) (*Set, error) {
	if opt.MaxMemory == 0 {
		opt.MaxMemory = DefaultMaxMemory
	}
	if opt.BatchSize < 0 || opt.DefaultBatch < 0 || opt.Steps < 0 || opt.MaxMemory < 0 {
		return nil, fmt.Errorf("batch size %d, %d steps, %d bytes of memory: none may be negative", opt.BatchSize, opt.Steps, opt.MaxMemory)
	}
	s := &Set{path: path, opt: opt, parts: map[string][]*part{}, numpy: map[string]bool{}, cache: cache{max: opt.MaxMemory}}
	// Half of what there is: steps are copies, and whatever runs on them needs memory too.
	if s.available = available() / 2; s.available > 0 {
		s.cache.max = min(s.cache.max, s.available)
	}
	err := s.read()
	if err == nil && len(opt.Model) > 0 {
		if len(s.sets) > 0 {
			err = s.fitTestSets()
		} else {
			err = s.fit()
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the files back. Tensors that were handed out stay valid.
func (s *Set) Close() error {
	s.closed = true
	s.cache.clear()
	var first error
	for _, c := range s.closers {
		if err := c(); err != nil && first == nil {
			first = err
		}
	}
	s.closers = nil
	return first
}

func (s *Set) read() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if !info.IsDir() && strings.EqualFold(filepath.Ext(s.path), ".pb") {
		return s.readTestSetOf(s.path)
	}
	if !info.IsDir() {
		read := readers[strings.ToLower(filepath.Ext(s.path))]
		if read == nil {
			return fmt.Errorf("%s: unknown kind of data, want .npz, .npy, .safetensors, .jsonl, .pb, or a folder of them", s.path)
		}
		return read(s, s.path)
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return natural(a.Name(), b.Name()) })
	if sets := findTestSets(s.path, entries); len(sets) > 0 {
		return s.readTestSets(sets)
	}
	for _, e := range entries {
		file := filepath.Join(s.path, e.Name())
		read := readers[strings.ToLower(filepath.Ext(file))]
		if read == nil || strings.HasPrefix(e.Name(), ".") { // copies from macOS bring a ._x.npy beside x.npy
			continue
		}
		// A link to a file is as good as the file, a folder called x.npy is not one.
		if info, err := os.Stat(file); err != nil {
			return err
		} else if info.IsDir() {
			continue
		}
		if err := read(s, file); err != nil {
			return err
		}
	}
	if len(s.files) == 0 {
		return fmt.Errorf("%s: no .npz, .npy, .safetensors or .jsonl file and no ONNX test set (test_data_set_*/input_0.pb) in this folder", s.path)
	}
	return nil
}

// readers are the kinds of files by extension.
var readers = map[string]func(s *Set, file string) error{
	".jsonl":       (*Set).readJSONL,
	".npy":         (*Set).readNpy,
	".npz":         (*Set).readNpz,
	".safetensors": (*Set).readSafetensors,
}

func (s *Set) readSafetensors(file string) error {
	f, err := safetensors.Open(file)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, f.Close)
	s.files = append(s.files, file)
	if len(f.Tensors) == 0 {
		return fmt.Errorf("%s: no array in this file", file)
	}
	for _, t := range f.Tensors {
		s.add(t.Name, &part{file: file, dtype: t.DType, shape: t.Shape, bytes: func() ([]byte, error) {
			if s.closed {
				return nil, errClosed
			}
			return t.Bytes()
		}})
	}
	return nil
}

func (s *Set) readNpy(file string) error {
	f, err := npy.Open(file)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, f.Close)
	s.files = append(s.files, file)
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	s.numpy[name] = true
	s.add(name, s.numpyPart(file, f.Arrays[0]))
	return nil
}

func (s *Set) readNpz(file string) error {
	f, err := npy.OpenZip(file, npy.Options{MaxMemory: s.opt.MaxMemory, Available: s.available})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, f.Close)
	s.files = append(s.files, file)
	if len(f.Arrays) == 0 {
		return fmt.Errorf("%s: no array in this file", file)
	}
	for _, a := range f.Arrays {
		s.add(a.Name, s.numpyPart(file, a))
	}
	return nil
}

func (s *Set) numpyPart(file string, a *npy.Array) *part {
	if a.Unreadable != nil {
		return &part{file: file, unreadable: a.Unreadable}
	}
	p := &part{file: file, dtype: a.Header.DType, shape: a.Header.Shape, fortran: a.Header.Fortran, big: a.Header.BigEndian, verify: a.Verify}
	p.bytes = func() ([]byte, error) {
		if s.closed {
			return nil, errClosed
		}
		if a.Mapped() {
			return a.Bytes()
		}
		if err := a.Check(); err != nil {
			return nil, err
		}
		return s.cache.get(p, a.Header.Size(), a.Unpack)
	}
	return p
}

func (s *Set) add(name string, p *part) {
	if _, there := s.parts[name]; !there {
		s.names = append(s.names, name)
	}
	s.parts[name] = append(s.parts[name], p)
}

// Files are the files of the data, in the order in which they were read. Those of an ONNX test set that say what a runtime must give back
// are among them: nobody who writes results wants to replace one.
func (s *Set) Files() []string { return slices.Clone(s.files) }

// Names are the arrays in order of appearance.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Array is the array called the prefix and this name, or just so. The prefix comes first, as for inputs: of two splits in one file the one
// that the inputs are from must win.
func (s *Set) Array(name string) (*Array, error) {
	for _, n := range []string{s.opt.Prefix + name, name} {
		if a, err := s.find(n); a != nil || err != nil {
			return a, err
		}
	}
	return nil, &NoArrayError{Array: name, Path: s.path, Have: s.have()}
}

// find is the array of exactly this name, nil where there is none.
func (s *Set) find(name string) (*Array, error) {
	if parts := s.parts[name]; len(parts) > 0 {
		return join(name, parts)
	}
	// name_0.npy, name_1.npy … in the order of their numbers.
	type numbered struct {
		number uint64
		parts  []*part
	}
	var found []numbered
	for _, n := range s.names {
		rest, is := strings.CutPrefix(n, name)
		if !is || !s.numpy[n] || len(rest) < 2 || !strings.ContainsRune("_-.", rune(rest[0])) {
			continue
		}
		if number, err := strconv.ParseUint(rest[1:], 10, 64); err == nil {
			found = append(found, numbered{number, s.parts[n]})
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(found, func(a, b numbered) int {
		switch {
		case a.number < b.number:
			return -1
		case a.number > b.number:
			return 1
		}
		return 0
	})
	var parts []*part
	for _, f := range found {
		parts = append(parts, f.parts...)
	}
	return join(name, parts)
}

// have lists the arrays with type and shape, for errors.
func (s *Set) have() []string {
	var out []string
	for _, n := range s.names {
		p := s.parts[n][0]
		text := fmt.Sprintf("%q %s%s", n, p.dtype, p.shape)
		if p.unreadable != nil {
			text = fmt.Sprintf("%q, which cannot be read", n)
		}
		if more := len(s.parts[n]) - 1; more > 0 {
			text += fmt.Sprintf(" and %d more parts", more)
		}
		out = append(out, text)
	}
	return out
}

// Notes are sentences that the user should read: roundings, rows left out, inputs that are the same at every step.
func (s *Set) Notes() []string { return slices.Clone(s.notes) }

func (s *Set) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}
