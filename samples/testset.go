package samples

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// testSet is one ONNX test set: the files input_0.pb, input_1.pb … of a folder. It is one step.
type testSet struct {
	dir    string
	inputs []*setInput // in the order of their numbers
	rows   int64
	feeds  []*setFeed
}

// setInput is one file.
type setInput struct {
	file   string
	number int
	name   string // of the tensor, may be empty
	t      *tensor.Tensor
}

type setFeed struct {
	in   *graph.Value
	from *setInput
	cut  bool
}

// numbered reads the number of prefix_N and prefix_N.pb.
func numbered(name, prefix, suffix string) (int, bool) {
	rest, is := strings.CutPrefix(name, prefix)
	if !is {
		return 0, false
	}
	if rest, is = strings.CutSuffix(rest, suffix); !is {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}

// findTestSets lists the folders with test sets: dir itself, or those called test_data_set_N in it, by number.
func findTestSets(dir string, entries []fs.DirEntry) []string {
	type set struct {
		number int
		dir    string
	}
	var sets []set
	for _, e := range entries {
		if _, is := numbered(e.Name(), "input_", ".pb"); is {
			return []string{dir}
		}
		if n, is := numbered(e.Name(), "test_data_set_", ""); is {
			sets = append(sets, set{n, filepath.Join(dir, e.Name())})
		}
	}
	slices.SortFunc(sets, func(a, b set) int { return cmp.Compare(a.number, b.number) })
	var out []string
	for _, s := range sets {
		out = append(out, s.dir)
	}
	return out
}

func (s *Set) readTestSets(dirs []string) error {
	if s.opt.DecodePB == nil {
		return fmt.Errorf("%s: ONNX test sets cannot be read here", s.path)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		set := &testSet{dir: dir}
		for _, e := range entries {
			n, is := numbered(e.Name(), "input_", ".pb")
			if !is {
				if _, is := numbered(e.Name(), "output_", ".pb"); is { // what a runtime must give back, no data
					s.files = append(s.files, filepath.Join(dir, e.Name()))
				}
				continue
			}
			in, err := s.readPB(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			in.number = n
			set.inputs = append(set.inputs, in)
		}
		if len(set.inputs) == 0 {
			return fmt.Errorf("%s: no input_0.pb in this test set", dir)
		}
		slices.SortFunc(set.inputs, func(a, b *setInput) int { return cmp.Compare(a.number, b.number) })
		s.sets = append(s.sets, set)
	}
	return nil
}

// readTestSetOf reads the test set that a .pb file belongs to: its folder's, where it is called input_N.pb, else one of this file alone.
func (s *Set) readTestSetOf(file string) error {
	if _, is := numbered(filepath.Base(file), "input_", ".pb"); is || s.opt.DecodePB == nil {
		return s.readTestSets([]string{filepath.Dir(file)})
	}
	in, err := s.readPB(file)
	if err != nil {
		return err
	}
	s.sets = []*testSet{{dir: file, inputs: []*setInput{in}}}
	return nil
}

func (s *Set) readPB(file string) (*setInput, error) {
	m, err := mapfile.Open(file)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, m.Close)
	s.files = append(s.files, file)
	in := &setInput{file: file}
	if len(m.Bytes()) == 0 {
		return nil, fmt.Errorf("%s: the file is empty", file)
	}
	err = mapfile.Guard(func() (err error) {
		in.name, in.t, err = s.opt.DecodePB(m.Bytes())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return in, nil
}

// fitTestSets gives each input of the model the tensor of its name, else the one of its number: test sets are numbered by the model's inputs,
// and not every writer names the tensors.
func (s *Set) fitTestSets() error {
	for i, set := range s.sets {
		if s.opt.BatchSize != 0 && i == 0 {
			s.note("the batch size of %d has no effect: each test set is one step", s.opt.BatchSize)
		}
		for number, in := range s.opt.Model {
			f := &setFeed{in: in}
			want, named := s.opt.Inputs[in.Name]
			if !named {
				want = s.opt.Prefix + in.Name
			}
			for _, p := range set.inputs {
				if p.name == want || named && fmt.Sprintf("input_%d", p.number) == want {
					f.from = p
					break
				}
			}
			if f.from == nil && !named {
				for _, p := range set.inputs {
					// A tensor that carries another input's name is that input's.
					other := slices.ContainsFunc(s.opt.Model, func(v *graph.Value) bool { return v.Name == p.name })
					if p.number == number && !other {
						f.from = p
					}
				}
			}
			if f.from == nil {
				var have []string
				for _, p := range set.inputs {
					have = append(have, fmt.Sprintf("%q %s%s", cmp.Or(p.name, fmt.Sprintf("input_%d", p.number)), p.t.DType, p.t.Shape))
				}
				return &NoArrayError{Input: in.Name, Array: want, Path: set.dir, Have: have}
			}
			if err := f.check(); err != nil {
				return err
			}
			set.feeds = append(set.feeds, f)
		}
		set.chooseRows(&s.indivisible)
	}
	return s.takeSteps(len(s.sets))
}

func (f *setFeed) check() error {
	t, got := f.in.Type, f.from.t
	if t == nil || t.Kind != graph.TensorKind {
		return fmt.Errorf("input %q of the model is no tensor: data cannot feed it", f.in.Name)
	}
	fits := true
	if ok, _ := convertible(got.DType, t.DType); !ok {
		fits = false
	}
	if t.HasShape {
		if len(t.Shape) != len(got.Shape) {
			fits = false
		} else {
			for i, d := range t.Shape {
				fits = fits && (d.Value < 0 || d.Value == got.Shape[i])
			}
		}
	}
	if !fits {
		return &FitError{Input: f.in.Name, Array: f.from.name, File: f.from.file, Got: fmt.Sprintf("%s%s", got.DType, got.Shape), Want: describe(t)}
	}
	return nil
}

// chooseRows finds the rows of a set that can be divided: those along the free first axis that all its inputs with such an axis share.
func (set *testSet) chooseRows(why *error) {
	set.rows = 1
	rows := int64(-1)
	for _, f := range set.feeds {
		t := f.in.Type
		switch shape := f.from.t.Shape; {
		case len(shape) == 0 || f.from.t.DType.Bits() < 8:
		case t.HasShape && t.Shape[0].Value >= 0:
			*why = fmt.Errorf("input %q of the model has a fixed batch of %d: its rows cannot be divided", f.in.Name, t.Shape[0].Value)
			return
		case rows >= 0 && rows != shape[0]:
			*why = fmt.Errorf("%s: input %q has %d rows, others have %d: they cannot be divided alike", set.dir, f.in.Name, shape[0], rows)
			return
		default:
			rows = shape[0]
		}
	}
	if rows < 1 {
		*why = fmt.Errorf("%s: there are no rows to divide", set.dir)
		return
	}
	for _, f := range set.feeds {
		f.cut = len(f.from.t.Shape) > 0 && f.from.t.DType.Bits() >= 8
	}
	set.rows = rows
}

func (s *Set) partOfTestSet(set *testSet, i int, lo, hi int64, all bool) (map[string]*tensor.Tensor, error) {
	out := make(map[string]*tensor.Tensor, len(set.feeds))
	for _, f := range set.feeds {
		t := f.from.t
		if t.DType == tensor.String {
			out[f.in.Name] = t
			continue
		}
		var b []byte
		err := mapfile.Guard(func() error {
			view, err := t.Bytes()
			b = slices.Clone(view) // the tensor outlives the mapping
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("input %q: %s: %w", f.in.Name, f.from.file, err)
		}
		shape := t.Shape.Clone()
		if f.cut && !all {
			row := int64(len(b)) / shape[0]
			b = b[lo*row : hi*row]
			shape[0] = hi - lo
		}
		got, err := s.finish(f.in.Name, f.from.name, f.from.file, i, t.DType, f.in.Type.DType, shape, b)
		if err != nil {
			return nil, err
		}
		out[f.in.Name] = got
	}
	return out, nil
}
