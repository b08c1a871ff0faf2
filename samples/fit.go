package samples

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// mode is how an array becomes steps.
type mode uint8

const (
	byRows mode = iota // step i takes rows [i·B, (i+1)·B)
	ready              // step i takes element i
	whole              // every step takes everything
)

// feed is one input of the model and the array it takes.
type feed struct {
	in    *graph.Value
	array *Array
	mode  mode
	kept  *tensor.Tensor // of mode whole, once it was read
}

// fit finds the array of every input and decides how it is cut.
func (s *Set) fit() error {
	for _, name := range slices.Sorted(maps.Keys(s.opt.Inputs)) {
		if !slices.ContainsFunc(s.opt.Model, func(v *graph.Value) bool { return v.Name == name }) {
			return fmt.Errorf("the model has no input %q that data could feed, it has %s", name, inputNames(s.opt.Model))
		}
	}
	for _, name := range s.opt.Whole {
		if !slices.ContainsFunc(s.opt.Model, func(v *graph.Value) bool { return v.Name == name }) {
			return fmt.Errorf("the model has no input %q that data could feed, it has %s", name, inputNames(s.opt.Model))
		}
	}
	for _, in := range s.opt.Model {
		a, err := s.arrayOf(in)
		if err != nil {
			return err
		}
		f := &feed{in: in, array: a}
		if err := f.check(slices.Contains(s.opt.Whole, in.Name)); err != nil {
			return err
		}
		if _, rounds := convertible(a.DType, in.Type.DType); rounds {
			s.note("input %q: array %q is %s and is rounded to %s", in.Name, a.Name, a.DType, in.Type.DType)
		}
		s.feeds = append(s.feeds, f)
	}
	if err := s.chooseRows(); err != nil {
		return err
	}
	return s.countSteps()
}

func inputNames(model []*graph.Value) string {
	var names []string
	for _, v := range model {
		names = append(names, fmt.Sprintf("%q", v.Name))
	}
	return strings.Join(names, ", ")
}

// arrayOf finds the array of an input.
func (s *Set) arrayOf(in *graph.Value) (*Array, error) {
	name, named := s.opt.Inputs[in.Name]
	if !named {
		name = s.opt.Prefix + in.Name
	}
	a, err := s.find(name)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", in.Name, err)
	}
	if a != nil {
		return a, nil
	}
	if !named && s.opt.Prefix == "" && len(s.opt.Model) == 1 && len(s.names) == 1 {
		return s.find(s.names[0])
	}
	missing := &NoArrayError{Input: in.Name, Array: name, Path: s.path, Have: s.have()}
	if !named {
		missing.Prefixes = s.prefixes()
	}
	return nil, missing
}

// prefixes are those with which every input that is not named in Inputs finds an array.
func (s *Set) prefixes() []string {
	var out []string
	for _, n := range s.names {
		for _, in := range s.opt.Model {
			p, is := strings.CutSuffix(n, in.Name)
			if !is || p == "" || p == s.opt.Prefix || slices.Contains(out, p) {
				continue
			}
			all := true
			for _, other := range s.opt.Model {
				_, named := s.opt.Inputs[other.Name]
				_, there := s.parts[p+other.Name]
				all = all && (named || there)
			}
			if all {
				out = append(out, p)
			}
		}
	}
	return out
}

// describe spells an input's type as it is declared, such as float32[batch,64].
func describe(t *graph.Type) string {
	if !t.HasShape {
		return t.DType.String()
	}
	var dims []string
	for _, d := range t.Shape {
		switch {
		case d.Value >= 0:
			dims = append(dims, fmt.Sprint(d.Value))
		case d.Param != "":
			dims = append(dims, d.Param)
		default:
			dims = append(dims, "?")
		}
	}
	return fmt.Sprintf("%s[%s]", t.DType, strings.Join(dims, ","))
}

func (f *feed) wrong(want string) error {
	return &FitError{Input: f.in.Name, Array: f.array.Name, File: f.array.File(), Got: f.array.String(), Want: want}
}

// check compares type and shape with what the input declares, and chooses the mode as far as it follows from the input alone.
func (f *feed) check(asWhole bool) error {
	t, a := f.in.Type, f.array
	if t == nil || t.Kind != graph.TensorKind {
		return fmt.Errorf("input %q of the model is no tensor: data cannot feed it", f.in.Name)
	}
	if ok, _ := convertible(a.DType, t.DType); !ok {
		return f.wrong(describe(t))
	}
	switch rank := len(a.Shape); {
	case asWhole || rank == 0:
		f.mode = whole
	case !t.HasShape || rank == len(t.Shape):
		f.mode = byRows
	case rank == len(t.Shape)+1:
		f.mode = ready
	}
	// The declared axes against the array's: those of an element where the array is a list, all but the first where it is cut.
	shape, first := a.Shape, 0
	switch f.mode {
	case ready:
		shape = a.Shape[1:]
	case byRows:
		first = 1
	}
	if !t.HasShape {
		return nil
	}
	if len(shape) != len(t.Shape) {
		return f.wrong(describe(t))
	}
	for i := first; i < len(shape); i++ {
		if d := t.Shape[i].Value; d >= 0 && d != shape[i] {
			want := describe(t)
			if f.mode == ready {
				want += " for each element"
			}
			return f.wrong(want)
		}
	}
	return nil
}

// batchDim is the declared first axis: its fixed length or -1, and its name.
func (f *feed) batchDim() (fixed int64, name string) {
	if !f.in.Type.HasShape || len(f.in.Type.Shape) == 0 {
		return -1, ""
	}
	d := f.in.Type.Shape[0]
	if d.Value >= 0 {
		return d.Value, ""
	}
	return -1, d.Param
}

// chooseRows decides which of the arrays that could be cut are cut: it sets mode, the number of rows, and the batch size.
func (s *Set) chooseRows() error {
	// The number of rows is that of the arrays that can be nothing else: their first axis is free, or fixed to another length than theirs.
	// Where their numbers differ, the axis that most of them name (the first of them in case of a tie) is the batch axis.
	var sure, maybe []*feed
	for _, f := range s.feeds {
		if f.mode != byRows {
			continue
		}
		if fixed, _ := f.batchDim(); fixed == f.array.Shape[0] {
			maybe = append(maybe, f)
		} else {
			sure = append(sure, f)
		}
	}
	if len(sure) > 0 {
		axis, votes := "", map[string]int{}
		for _, f := range sure {
			if _, name := f.batchDim(); name != "" {
				votes[name]++
			}
		}
		for _, f := range sure {
			if _, name := f.batchDim(); votes[name] > votes[axis] {
				axis = name
			}
		}
		lead := sure[0]
		for _, f := range sure {
			if _, name := f.batchDim(); name == axis {
				lead = f
				break
			}
		}
		n := lead.array.Shape[0]
		for _, f := range sure {
			if f.array.Shape[0] == n {
				continue
			}
			if fixed, name := f.batchDim(); fixed < 0 && name != "" && name != axis {
				f.mode = whole
				continue
			}
			return f.wrong(fmt.Sprintf("%d rows as input %q has, or to be given whole at every step", n, lead.in.Name))
		}
		s.rows = n
		for _, f := range maybe {
			if f.array.Shape[0] != n {
				f.mode = whole
			}
		}
	} else if len(maybe) > 0 {
		// Every input has just the length that the model fixes: one step. With the same length everywhere it is a batch, else each is whole.
		n := maybe[0].array.Shape[0]
		for _, f := range maybe {
			if f.array.Shape[0] != n {
				n = -1
			}
		}
		if n >= 0 {
			s.rows = n
		} else {
			for _, f := range maybe {
				f.mode = whole
			}
		}
	}

	s.batch = s.opt.BatchSize
	var fixedBy *feed
	elements := int64(0)
	var first *feed // that is cut
	for _, f := range s.feeds {
		if f.mode == whole && len(f.array.Shape) > 0 && !slices.Contains(s.opt.Whole, f.in.Name) {
			s.note("input %q: array %q %s is given whole at every step", f.in.Name, f.array.Name, f.array)
		}
		if f.mode != byRows {
			continue
		}
		if first == nil {
			first = f
		}
		n, err := f.array.Shape.Elements()
		if err != nil {
			return err
		}
		elements = max(elements, n)
		fixed, _ := f.batchDim()
		if fixed < 0 {
			continue
		}
		if fixedBy != nil {
			if other, _ := fixedBy.batchDim(); other != fixed {
				return fmt.Errorf("the model fixes the first axis of input %q to %d and that of input %q to %d: their arrays cannot be cut into the "+
					"same steps", fixedBy.in.Name, other, f.in.Name, fixed)
			}
			continue
		}
		fixedBy = f
		if s.batch != 0 && s.batch != fixed {
			return fmt.Errorf("batch size %d, and input %q of the model has a fixed batch of %d (%s)", s.batch, f.in.Name, fixed, describe(f.in.Type))
		}
		s.batch = fixed
	}
	if first != nil && elements == 0 {
		return first.wrong("at least one row")
	}
	if s.batch == 0 {
		s.batch = max(1, s.opt.DefaultBatch)
		if fixedBy != nil {
			return fixedBy.wrong("a batch of at least one row; the model fixes it to 0")
		}
	}
	if fixedBy != nil && s.rows < s.batch {
		return fixedBy.wrong(fmt.Sprintf("at least the %d rows that the model fixes (%s)", s.batch, describe(fixedBy.in.Type)))
	}
	if left := s.rows % s.batch; fixedBy != nil && left != 0 {
		s.note("the last %d of %d rows are left out: the model has a fixed batch of %d", left, s.rows, s.batch)
		s.rows -= left
		s.left = left
	}
	return nil
}

// countSteps compares the numbers of steps of the arrays and what the caller asked for.
func (s *Set) countSteps() error {
	have, from := -1, (*feed)(nil)
	for _, f := range s.feeds {
		var n int64
		switch f.mode {
		case byRows:
			n = (s.rows-1)/s.batch + 1
		case ready:
			n = f.array.Shape[0]
			if n == 0 {
				return f.wrong("at least one element")
			}
		case whole:
			continue
		}
		if int64(int(n)) != n {
			return f.wrong("fewer steps")
		}
		if from != nil && have != int(n) {
			return f.wrong(fmt.Sprintf("%d steps as input %q has; this array makes %d", have, from.in.Name, n))
		}
		if from == nil {
			have, from = int(n), f
		}
	}
	if from == nil {
		have = 1
		s.note("every input is given whole: one step")
	}
	if err := s.readyRows(); err != nil {
		return err
	}
	return s.takeSteps(have)
}

func (s *Set) takeSteps(have int) error {
	s.steps = have
	if s.opt.Steps == 0 {
		return nil
	}
	if s.opt.Steps > have {
		return &StepsError{Want: s.opt.Steps, Have: have, Rows: s.rows, BatchSize: s.batch}
	}
	s.steps = s.opt.Steps
	return nil
}
