package samples

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Steps is how many steps there are.
func (s *Set) Steps() int { return s.steps }

// BatchSize is the number of rows of a full step, 0 where every step brings its own.
func (s *Set) BatchSize() int64 {
	if s.rows == 0 {
		return 0
	}
	return s.batch
}

// Rows is how many rows step i has: what can be divided among workers, at least 1. A step without rows of its own has one.
func (s *Set) Rows(i int) int {
	switch {
	case i < 0 || i >= s.steps:
		return 0
	case len(s.sets) > 0:
		return int(s.sets[i].rows)
	case s.rows > 0:
		lo := int64(i) * s.batch
		return int(min(s.rows-lo, s.batch))
	case s.ready > 0:
		return int(s.ready)
	}
	return 1
}

// Divisible says why the rows of a step cannot be divided among workers, or nil.
func (s *Set) Divisible() error { return s.indivisible }

// Batched reports whether an input's tensor has a row for each row of the step, so that part of a batch has part of the tensor. The
// others are the same for every part.
func (s *Set) Batched(input string) bool {
	for _, f := range s.feeds {
		if f.in.Name == input {
			return f.mode == byRows || f.mode == ready && len(f.array.Shape) > 1
		}
	}
	for _, set := range s.sets {
		for _, f := range set.feeds {
			if f.in.Name == input && len(f.from.t.Shape) > 0 {
				return true
			}
		}
	}
	return false
}

// Step is the inputs of step i, by name, in memory of their own.
func (s *Set) Step(i int) (map[string]*tensor.Tensor, error) {
	return s.Batch(context.Background(), i, 0, s.Rows(i))
}

// Batch is rows [lo, hi) of step i: the inputs by name, in memory of their own. An input that is given whole is the same tensor at every
// step. It fails where Divisible does, unless all rows are asked for.
func (s *Set) Batch(ctx context.Context, i, lo, hi int) (map[string]*tensor.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if s.closed {
		return nil, errClosed
	}
	if i < 0 || i >= s.steps {
		return nil, fmt.Errorf("step %d is asked for, there are %d", i, s.steps)
	}
	rows := s.Rows(i)
	if lo < 0 || hi < lo || hi > rows {
		return nil, fmt.Errorf("rows %d to %d of step %d are asked for, it has %d", lo, hi, i, rows)
	}
	all := lo == 0 && hi == rows
	if !all && s.indivisible != nil {
		return nil, s.indivisible
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if len(s.sets) > 0 {
		return s.partOfTestSet(s.sets[i], i, int64(lo), int64(hi), all)
	}
	out := make(map[string]*tensor.Tensor, len(s.feeds))
	for _, f := range s.feeds {
		t, err := s.partOfFeed(f, i, int64(lo), int64(hi), all)
		if err != nil {
			return nil, err
		}
		out[f.in.Name] = t
	}
	return out, nil
}

func (s *Set) partOfFeed(f *feed, i int, lo, hi int64, all bool) (*tensor.Tensor, error) {
	a := f.array
	var (
		b     []byte
		shape tensor.Shape
		err   error
	)
	switch f.mode {
	case whole:
		if f.kept != nil {
			return f.kept, nil
		}
		shape = a.Shape.Clone()
		b, err = a.whole()
	case byRows:
		at := int64(i) * s.batch
		shape = a.Shape.Clone()
		shape[0] = hi - lo
		b, err = a.rows(at+lo, at+hi)
	case ready:
		shape = a.Shape[1:].Clone()
		b, err = a.rows(int64(i), int64(i)+1)
		if err == nil && !all {
			row := int64(len(b)) / shape[0]
			b = b[lo*row : hi*row]
			shape[0] = hi - lo
		}
	}
	if err != nil {
		return nil, fmt.Errorf("input %q: array %q: %w", f.in.Name, a.Name, err)
	}
	t, err := s.finish(f.in.Name, a.Name, a.File(), i, a.DType, f.in.Type.DType, shape, b)
	if err == nil && f.mode == whole {
		f.kept = t
	}
	return t, err
}

// finish converts the bytes of an input to its type and looks for what is not finite.
func (s *Set) finish(input, array, file string, i int, from, to tensor.DType, shape tensor.Shape, b []byte) (*tensor.Tensor, error) {
	stored := b
	b = convert(b, from, to)
	if !s.opt.AllowNonFinite {
		if at, what := nonFinite(b, to); at >= 0 {
			want := Finite
			if from == tensor.Float64 && to == tensor.Float32 {
				if v := math.Float64frombits(binary.LittleEndian.Uint64(stored[8*at:])); !math.IsInf(v, 0) && !math.IsNaN(v) {
					what, want = fmt.Sprintf("%g", v), fmt.Sprintf("numbers that %s can hold: at most %g", to, math.MaxFloat32)
				}
			}
			return nil, &FitError{Input: input, Array: array, File: file, Got: fmt.Sprintf("%s at %s of step %d", what, position(at, shape), i+1),
				Want: want}
		}
	}
	return tensor.New(to, shape, tensor.Bytes(b))
}

// position spells a flat index as one per axis.
func position(at int, shape tensor.Shape) string {
	index := make(tensor.Shape, len(shape))
	for axis := len(shape) - 1; axis >= 0; axis-- {
		if shape[axis] > 0 {
			index[axis] = int64(at) % shape[axis]
			at /= int(shape[axis])
		}
	}
	return index.String()
}

// Aligned is the rows of an array that belong to step i, such as its labels, whether an input takes the array or not. The array has as many
// rows as the inputs that are cut, or, where steps are ready, an element per step.
func (s *Set) Aligned(name string, i int) (*tensor.Tensor, error) {
	if i < 0 || i >= s.steps {
		return nil, fmt.Errorf("step %d is asked for, there are %d", i, s.steps)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	a, err := s.Array(name)
	if err != nil {
		return nil, err
	}
	wrong := func(want string) error {
		return fmt.Errorf("array %q (%s): got %s, want %s", a.Name, a.File(), a, want)
	}
	if len(a.Shape) == 0 {
		return nil, wrong("a row for each of the inputs' rows")
	}
	if s.rows > 0 {
		// Rows left out of the inputs are left out here.
		if n := a.Shape[0]; n != s.rows && n != s.rows+s.left {
			return nil, wrong(fmt.Sprintf("%d rows as the inputs have", s.rows+s.left))
		}
		lo := int64(i) * s.batch
		return a.Rows(lo, lo+int64(s.Rows(i)))
	}
	if s.ready == 0 {
		return a.Tensor()
	}
	if a.Shape[0] < int64(s.steps) {
		return nil, wrong(fmt.Sprintf("an element for each of the %d steps", s.steps))
	}
	t, err := a.Rows(int64(i), int64(i)+1)
	if err == nil {
		t.Shape = t.Shape[1:]
	}
	return t, err
}

// Check reads every step once, so that a broken element is found before the work begins. progress, where given, is told the steps done.
func (s *Set) Check(ctx context.Context, progress func(done, total int)) error {
	for i := range s.steps {
		if _, err := s.Batch(ctx, i, 0, s.Rows(i)); err != nil {
			return err
		}
		if progress != nil {
			progress(i+1, s.steps)
		}
	}
	return nil
}
