package samples

import (
	"archive/zip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var _ calibrate.Source = (*Set)(nil)

func model(in ...*graph.Value) []*graph.Value { return in }

// named is an input with names for its axes; a number is a fixed one.
func named(name string, d tensor.DType, axes ...any) *graph.Value {
	t := &graph.Type{DType: d, HasShape: true}
	for _, a := range axes {
		switch a := a.(type) {
		case int:
			t.Shape = append(t.Shape, graph.Dim{Value: int64(a)})
		case string:
			t.Shape = append(t.Shape, graph.Dim{Value: -1, Param: a})
		}
	}
	return &graph.Value{Name: name, Type: t}
}

func TestEveryContainerGivesTheSameSteps(t *testing.T) {
	x, y := rising(tensor.Int64, 10, 3), rising(tensor.Float32, 10)
	all := arrays{{Name: "x", Tensor: x}, {Name: "y", Tensor: y}}
	first, second := arrays{}, arrays{}
	for _, a := range all {
		b, row := a.Data.(tensor.Bytes), a.Size()/10
		part := func(lo, hi int64) *tensor.Tensor {
			shape := a.Shape.Clone()
			shape[0] = hi - lo
			return &tensor.Tensor{DType: a.DType, Shape: shape, Data: b[lo*row : hi*row]}
		}
		first = append(first, safetensors.Tensor{Name: a.Name, Tensor: part(0, 7)})
		second = append(second, safetensors.Tensor{Name: a.Name, Tensor: part(7, 10)})
	}
	// Fortran order: the first axis varies fastest. Big-endian elements.
	var fortran []byte
	for col := range int64(3) {
		for row := range int64(10) {
			b := appendNumber(nil, tensor.Int64, 3*row+col)
			slices.Reverse(b)
			fortran = append(fortran, b...)
		}
	}
	want := ""
	for name, path := range map[string]string{
		"deflated npz": putNpz(t, all),
		"stored npz":   filepath.Join(put(t, map[string][]byte{"a.npz": all.npz(t, zip.Store)}), "a.npz"),
		"safetensors":  filepath.Join(put(t, map[string][]byte{"a.safetensors": all.safetensors(t)}), "a.safetensors"),
		"an array a file": put(t, map[string][]byte{"x.npy": npyTensor(x), "y.npy": npyTensor(y), "README": []byte("x"), "._x.npy": []byte("x"),
			"sub.npy/z.txt": []byte("a folder")}),
		"chunks in two kinds of file": put(t, map[string][]byte{"0.npz": first.npz(t, zip.Deflate), "1.safetensors": second.safetensors(t)}),
		"numbered chunks": put(t, map[string][]byte{"x_9.npy": npyTensor(first[0].Tensor), "x_10.npy": npyTensor(second[0].Tensor),
			"y-0.npy": npyTensor(y)}),
		"another order of bytes and axes": put(t, map[string][]byte{"x.npy": npyOf(">i8", true, tensor.Shape{10, 3}, fortran), "y.npy": npyTensor(y)}),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, path, Options{Model: model(input("x", tensor.Int64, -1, 3), input("y", tensor.Float32, -1)), BatchSize: 4})
			if s.Steps() != 3 || s.Rows(0) != 4 || s.Rows(2) != 2 || s.Rows(3) != 0 || s.Rows(-1) != 0 || s.Divisible() != nil || s.BatchSize() != 4 {
				t.Errorf("%d steps of %d, %d and %d rows, %v", s.Steps(), s.Rows(0), s.Rows(1), s.Rows(2), s.Divisible())
			}
			next := int64(0)
			for i := range s.Steps() {
				step, err := s.Step(i)
				if err != nil {
					t.Fatal(err)
				}
				for j, v := range numbers(t, step["y"]) {
					row := numbers(t, step["x"])[3*j : 3*j+3]
					if v != next || !slices.Equal(row, []int64{3 * v, 3*v + 1, 3*v + 2}) {
						t.Errorf("step %d, row %d: y %d, x %d", i, j, v, row)
					}
					next++
				}
			}
			if next != 10 {
				t.Errorf("%d rows", next)
			}
			part, err := s.Batch(t.Context(), 1, 1, 3)
			if err != nil || !slices.Equal(numbers(t, part["y"]), []int64{5, 6}) || part["x"].Shape.String() != "[2,3]" {
				t.Errorf("rows 1 to 3 of step 1: %v, %v", part, err)
			}
			print, err := s.Fingerprint(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = print
			}
			if print != want || len(print) != len("xxh64:")+16 {
				t.Errorf("fingerprint %s, others have %s", print, want)
			}
			if len(s.Notes()) != 0 {
				t.Errorf("notes %q", s.Notes())
			}
		})
	}
}

func TestTheFingerprintSeesWhatMakesSteps(t *testing.T) {
	print := func(in *graph.Value, x *tensor.Tensor, opt Options) string {
		opt.Model = model(in)
		s := open(t, putNpz(t, arrays{{Name: in.Name, Tensor: x}, {Name: "other", Tensor: rising(tensor.Int32, 3)}}), opt)
		p, err := s.Fingerprint(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := print(input("x", tensor.Int64, -1), rising(tensor.Int64, 6), Options{})
	changed := rising(tensor.Int64, 6)
	changed.Data.(tensor.Bytes)[40]++
	seen := map[string]string{base: "the base"}
	for what, p := range map[string]string{
		"another element":    print(input("x", tensor.Int64, -1), changed, Options{}),
		"another name":       print(input("y", tensor.Int64, -1), rising(tensor.Int64, 6), Options{}),
		"another shape":      print(input("x", tensor.Int64, -1, -1), rising(tensor.Int64, 3, 2), Options{}),
		"another type":       print(input("x", tensor.Int64, -1), rising(tensor.Int32, 6), Options{}),
		"another batch size": print(input("x", tensor.Int64, -1), rising(tensor.Int64, 6), Options{BatchSize: 2}),
	} {
		if other, same := seen[p]; same {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[p] = what
	}
	if p := print(input("x", tensor.Int64, -1), rising(tensor.Int64, 6), Options{}); p != base {
		t.Errorf("%s, then %s", base, p)
	}
}

func TestInputsFindTheirArrays(t *testing.T) {
	path := putNpz(t, arrays{{Name: "calib_ids", Tensor: rising(tensor.Int64, 4)}, {Name: "calib_mask", Tensor: rising(tensor.Int64, 4)},
		{Name: "eval_ids", Tensor: rising(tensor.Int64, 2)}, {Name: "eval_mask", Tensor: rising(tensor.Int64, 2)}, {Name: "labels", Tensor: rising(tensor.Int64, 4)}})
	in := model(input("ids", tensor.Int64, -1), input("mask", tensor.Int64, -1))
	steps := func(opt Options) int {
		t.Helper()
		opt.Model = in
		return open(t, path, opt).Steps()
	}
	if n := steps(Options{Prefix: "eval_"}); n != 2 {
		t.Errorf("prefix eval_: %d steps", n)
	}
	if n := steps(Options{Inputs: map[string]string{"ids": "labels", "mask": "calib_mask"}}); n != 4 {
		t.Errorf("names: %d steps", n)
	}
	if n := steps(Options{Prefix: "calib_", Inputs: map[string]string{"ids": "labels"}}); n != 4 {
		t.Errorf("a prefix and a name: %d steps", n)
	}
	_, err := Open(path, Options{Model: in})
	wantError(t, err, `input "ids"`, `no array "ids"`, `"calib_ids" int64[4]`, `prefix "calib_"`, `"eval_"`)
	var missing *NoArrayError
	if !errors.As(err, &missing) || !slices.Equal(missing.Prefixes, []string{"calib_", "eval_"}) {
		t.Errorf("got %#v", err)
	}
	_, err = Open(path, Options{Model: in, Prefix: "train_"})
	wantError(t, err, `no array "train_ids"`, `prefix "calib_"`)
	_, err = Open(path, Options{Model: in, Inputs: map[string]string{"ids": "none"}})
	wantError(t, err, `input "ids"`, `no array "none"`)
	_, err = Open(path, Options{Model: in, Inputs: map[string]string{"idz": "labels"}})
	wantError(t, err, `no input "idz"`, `"ids", "mask"`)
	_, err = Open(path, Options{Model: in, Whole: []string{"idz"}})
	wantError(t, err, `no input "idz"`)

	one := filepath.Join(put(t, map[string][]byte{"anything.npy": npyTensor(rising(tensor.Int64, 3))}), "anything.npy")
	if s := open(t, one, Options{Model: model(input("x", tensor.Int64, -1))}); s.Steps() != 3 {
		t.Errorf("one input and one array: %d steps", s.Steps())
	}
	_, err = Open(one, Options{Model: model(input("x", tensor.Int64, -1), input("y", tensor.Int64, -1))})
	wantError(t, err, `input "x"`, `"anything" int64[3]`)
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		have, want tensor.DType
		ok         bool
	}{
		{tensor.Int32, tensor.Int64, true}, {tensor.Uint8, tensor.Int32, true}, {tensor.Uint8, tensor.Int64, true}, {tensor.Int8, tensor.Int32, true},
		{tensor.Uint32, tensor.Int64, true}, {tensor.Int64, tensor.Int32, false}, {tensor.Int8, tensor.Uint8, false}, {tensor.Uint32, tensor.Int32, false},
		{tensor.Float64, tensor.Float32, true}, {tensor.Float32, tensor.Float64, false}, {tensor.Int32, tensor.Float32, false},
		{tensor.Float16, tensor.Float32, false}, {tensor.Bool, tensor.Int32, false}, {tensor.Float32, tensor.Float16, false}, {tensor.Uint8, tensor.Bool, false},
	} {
		t.Run(fmt.Sprintf("%s to %s", c.have, c.want), func(t *testing.T) {
			s, err := Open(putNpz(t, arrays{{Name: "x", Tensor: rising(c.have, 5)}}), Options{Model: model(input("x", c.want, -1)), BatchSize: 5})
			if !c.ok {
				wantError(t, err, `input "x"`, `array "x"`, fmt.Sprintf("got %s[5], want %s[batch]", c.have, c.want))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			step, err := s.Step(0)
			if err != nil {
				t.Fatal(err)
			}
			if x := step["x"]; x.DType != c.want || !slices.Equal(numbers(t, x), []int64{0, 1, 2, 3, 4}) {
				t.Errorf("%s %d", x.DType, numbers(t, x))
			}
			if rounds := len(s.Notes()) > 0; rounds != (c.have == tensor.Float64) {
				t.Errorf("notes %q", s.Notes())
			}
		})
	}
	if got := convert([]byte{0xFE, 5, 0x80}, tensor.Int8, tensor.Int32); !slices.Equal(got, []byte{0xFE, 0xFF, 0xFF, 0xFF, 5, 0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF}) {
		t.Errorf("int8 to int32: % x", got)
	}
	bools := &tensor.Tensor{DType: tensor.Bool, Shape: tensor.Shape{3}, Data: tensor.Bytes{0, 1, 200}}
	s := open(t, putNpz(t, arrays{{Name: "x", Tensor: bools}}), Options{Model: model(input("x", tensor.Bool, -1)), BatchSize: 3})
	if step, err := s.Step(0); err != nil || !slices.Equal(numbers(t, step["x"]), []int64{0, 1, 1}) {
		t.Errorf("bools: %v, %v", step, err)
	}
}

func TestHowArraysAreCut(t *testing.T) {
	f, i := tensor.Float32, tensor.Int64
	for _, c := range []struct {
		name  string
		in    []*graph.Value
		data  map[string][]int64 // shapes
		opt   Options
		steps int
		rows  []int
		shape map[string]string // of the inputs in step 0
		batch []string          // inputs with rows
		whole bool              // rows cannot be divided
		note  string
		err   []string
	}{
		{name: "rows", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {5, 3}}, opt: Options{BatchSize: 2},
			steps: 3, rows: []int{2, 2, 1}, shape: map[string]string{"x": "[2,3]"}, batch: []string{"x"}},
		{name: "some steps", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {5, 3}}, opt: Options{BatchSize: 2, Steps: 2},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2,3]"}, batch: []string{"x"}},
		{name: "more steps than rows", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {5, 3}}, opt: Options{BatchSize: 2, Steps: 4},
			err: []string{"4 steps", "5 rows make 3 of batch size 2"}},
		{name: "unknown rank", in: model(&graph.Value{Name: "x", Type: &graph.Type{DType: f}}), data: map[string][]int64{"x": {4, 3}},
			opt: Options{BatchSize: 2}, steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2,3]"}, batch: []string{"x"}},
		{name: "the model's fixed batch", in: model(named("x", f, 2, 3)), data: map[string][]int64{"x": {5, 3}},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2,3]"}, batch: []string{"x"}, whole: true, note: "last 1 of 5 rows are left out"},
		{name: "another batch than the model's", in: model(named("x", f, 2, 3)), data: map[string][]int64{"x": {5, 3}}, opt: Options{BatchSize: 4},
			err: []string{"batch size 4", `input "x"`, "fixed batch of 2"}},
		{name: "fewer rows than the fixed batch", in: model(named("x", f, 8, 3)), data: map[string][]int64{"x": {5, 3}},
			err: []string{`input "x"`, "float32[5,3]", "at least the 8 rows"}},
		{name: "two fixed batches", in: model(named("x", f, 2), named("y", f, 3)), data: map[string][]int64{"x": {6}, "y": {6}},
			err: []string{`input "x" to 2`, `input "y" to 3`}},
		{name: "one step of the fixed batch", in: model(named("x", f, 4), named("y", f, 4, 2)), data: map[string][]int64{"x": {4}, "y": {4, 2}},
			steps: 1, rows: []int{4}, shape: map[string]string{"x": "[4]", "y": "[4,2]"}, batch: []string{"x", "y"}, whole: true},
		{name: "inputs of fixed lengths", in: model(named("x", f, 5, 1), named("y", f, 1, 5)), data: map[string][]int64{"x": {5, 1}, "y": {1, 5}},
			steps: 1, rows: []int{1}, shape: map[string]string{"x": "[5,1]", "y": "[1,5]"}, whole: true, note: "given whole"},
		{name: "a scalar", in: model(named("x", f, "batch"), named("t", f)), data: map[string][]int64{"x": {4}, "t": {}}, opt: Options{BatchSize: 2},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2]", "t": "[]"}, batch: []string{"x"}},
		{name: "a scalar per step", in: model(named("x", f, "batch"), named("t", f)), data: map[string][]int64{"x": {4}, "t": {2}}, opt: Options{BatchSize: 2},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2]", "t": "[]"}, batch: []string{"x"}, whole: true},
		{name: "a length that the model fixes", in: model(named("x", f, "batch"), named("p", i, 1, "seq")), data: map[string][]int64{"x": {4}, "p": {1, 7}},
			opt: Options{BatchSize: 2}, steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2]", "p": "[1,7]"}, batch: []string{"x"},
			note: `input "p": array "p" int64[1,7] is given whole`},
		{name: "an axis that is not the batch", in: model(named("x", f, "batch"), named("y", f, "batch"), named("w", f, "heads")),
			data: map[string][]int64{"x": {4}, "y": {4}, "w": {3}}, opt: Options{BatchSize: 2},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2]", "w": "[3]"}, batch: []string{"x", "y"}, note: `input "w"`},
		{name: "numbers of rows that differ", in: model(named("x", f, "batch"), named("y", f, "batch")), data: map[string][]int64{"x": {4}, "y": {3}},
			err: []string{`input "y"`, "float32[3]", `4 rows as input "x" has`}},
		{name: "numbers of rows that differ, without names", in: model(input("x", f, -1, -1), &graph.Value{Name: "y", Type: &graph.Type{DType: f}}),
			data: map[string][]int64{"x": {4, 1}, "y": {3}}, err: []string{`input "y"`, "4 rows"}},
		{name: "whole because it is said so", in: model(named("x", f, "batch"), named("y", f, "batch")), data: map[string][]int64{"x": {4}, "y": {3}},
			opt: Options{Whole: []string{"y"}, BatchSize: 4}, steps: 1, rows: []int{4}, shape: map[string]string{"x": "[4]", "y": "[3]"}, batch: []string{"x"}},
		{name: "a list of ready batches", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {2, 4, 3}},
			steps: 2, rows: []int{4, 4}, shape: map[string]string{"x": "[4,3]"}, batch: []string{"x"}},
		{name: "a list of ready batches and a default", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {2, 4, 3}},
			opt: Options{DefaultBatch: 8}, steps: 2, rows: []int{4, 4}, shape: map[string]string{"x": "[4,3]"}, batch: []string{"x"}},
		{name: "a default", in: model(named("x", f, "batch", 3), named("p", i, 1, "seq")), data: map[string][]int64{"x": {5, 3}, "p": {1, 7}},
			opt: Options{DefaultBatch: 3}, steps: 2, rows: []int{3, 2}, shape: map[string]string{"x": "[3,3]", "p": "[1,7]"}, batch: []string{"x"},
			note: `input "p"`},
		{name: "a default and a fixed batch", in: model(named("x", f, 2, 3)), data: map[string][]int64{"x": {4, 3}}, opt: Options{DefaultBatch: 3},
			steps: 2, rows: []int{2, 2}, shape: map[string]string{"x": "[2,3]"}, batch: []string{"x"}, whole: true},
		{name: "a list of batches of another size", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {2, 4, 3}}, opt: Options{BatchSize: 8},
			err: []string{"batch size 8", "ready batches of 4"}},
		{name: "a list of samples for a model without batch", in: model(named("x", f, 3)), data: map[string][]int64{"x": {5, 3}},
			steps: 5, rows: []int{1, 1, 1, 1, 1}, shape: map[string]string{"x": "[3]"}, batch: []string{"x"}, whole: true},
		{name: "lists of different lengths", in: model(named("x", f, 3), named("y", f, 3)), data: map[string][]int64{"x": {5, 3}, "y": {4, 3}},
			err: []string{`input "y"`, `5 steps as input "x" has`}},
		{name: "a wrong inner axis", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {5, 4}},
			err: []string{`input "x"`, `array "x"`, "got float32[5,4]", "want float32[batch,3]"}},
		{name: "a wrong axis of an element", in: model(named("x", f, "batch", 64)), data: map[string][]int64{"x": {5, 8, 8}},
			err: []string{"got float32[5,8,8]", "want float32[batch,64] for each element"}},
		{name: "a wrong rank", in: model(named("x", f, "batch", 2, 2)), data: map[string][]int64{"x": {5, 4}},
			err: []string{"got float32[5,4]", "want float32[batch,2,2]"}},
		{name: "two axes too many", in: model(named("x", f, "batch")), data: map[string][]int64{"x": {5, 4, 3}},
			err: []string{"got float32[5,4,3]", "want float32[batch]"}},
		{name: "a scalar for a vector", in: model(named("x", f, "batch")), data: map[string][]int64{"x": {}},
			err: []string{"got float32[]", "want float32[batch]"}},
		{name: "no rows", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {0, 3}}, err: []string{"got float32[0,3], want at least one row"}},
		{name: "rows without elements", in: model(named("x", f, "batch", "n")), data: map[string][]int64{"x": {1 << 60, 0}}, err: []string{"want at least one row"}},
		{name: "an empty list", in: model(named("x", f, "batch", 3)), data: map[string][]int64{"x": {0, 4, 3}}, err: []string{"at least one element"}},
		{name: "an empty past", in: model(named("x", f, "batch"), named("p", f, "batch", "past")), data: map[string][]int64{"x": {4}, "p": {4, 0}},
			opt: Options{BatchSize: 4}, steps: 1, rows: []int{4}, shape: map[string]string{"p": "[4,0]"}, batch: []string{"x", "p"}},
		{name: "a negative batch size", in: model(named("x", f, "batch")), data: map[string][]int64{"x": {4}}, opt: Options{BatchSize: -1},
			err: []string{"batch size -1"}},
		{name: "no tensor", in: model(&graph.Value{Name: "x", Type: &graph.Type{Kind: graph.OtherKind}}), data: map[string][]int64{"x": {4}},
			err: []string{`input "x"`, "no tensor"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a arrays
			for _, in := range c.in {
				d := in.Type.DType
				if d == tensor.Undefined {
					d = f
				}
				a = append(a, safetensors.Tensor{Name: in.Name, Tensor: rising(d, c.data[in.Name]...)})
			}
			c.opt.Model = c.in
			s, err := Open(putNpz(t, a), c.opt)
			if c.err != nil {
				wantError(t, err, c.err...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var rows []int
			for i := range s.Steps() {
				rows = append(rows, s.Rows(i))
			}
			if s.Steps() != c.steps || !slices.Equal(rows, c.rows) {
				t.Errorf("%d steps with rows %d, want %d with %d", s.Steps(), rows, c.steps, c.rows)
			}
			step, err := s.Step(0)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.shape {
				if got := step[name].Shape.String(); got != want {
					t.Errorf("input %q is %s, want %s", name, got, want)
				}
			}
			for _, in := range c.in {
				if got := s.Batched(in.Name); got != slices.Contains(c.batch, in.Name) {
					t.Errorf("input %q has rows: %v", in.Name, got)
				}
			}
			if (s.Divisible() != nil) != c.whole {
				t.Errorf("divisible: %v", s.Divisible())
			}
			if notes := strings.Join(s.Notes(), "|"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
			if n := s.Rows(0); n > 1 {
				part, err := s.Batch(t.Context(), 0, 1, n)
				if c.whole {
					if err == nil {
						t.Error("rows that cannot be divided were divided")
					}
				} else if err != nil {
					t.Error(err)
				} else {
					for name := range c.shape {
						all, rest := numbers(t, step[name]), numbers(t, part[name])
						if s.Batched(name) {
							all = all[len(all)/n:]
						}
						if !slices.Equal(all, rest) {
							t.Errorf("input %q: rows from 1 are %d, want %d", name, rest, all)
						}
					}
				}
			}
		})
	}
}

func TestWhatIsNotFiniteIsRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	path := putNpz(t, arrays{{Name: "x", Tensor: tensor.Float32s(tensor.Shape{3, 2}, 1, 2, 3, nan, inf, 6)}})
	opt := Options{Model: model(input("x", tensor.Float32, -1, 2)), BatchSize: 2}
	s := open(t, path, opt)
	_, err := s.Step(0)
	wantError(t, err, `input "x"`, `array "x"`, "data.npz", "got NaN at [1,1] of step 1", "want finite")
	var fit *FitError
	if !errors.As(err, &fit) || fit.Input != "x" {
		t.Errorf("got %#v", err)
	}
	_, err = s.Step(1)
	wantError(t, err, "got Inf at [0,0] of step 2")
	wantError(t, s.Check(t.Context(), nil), "NaN")
	opt.AllowNonFinite = true
	s = open(t, path, opt)
	calls := 0
	if err := s.Check(t.Context(), func(done, total int) { calls++ }); err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	// A number that float32 cannot hold would become Inf, and is named as it is.
	s = open(t, putNpz(t, arrays{{Name: "x", Tensor: &tensor.Tensor{DType: tensor.Float64, Shape: tensor.Shape{1},
		Data: tensor.Bytes{0, 0, 0, 0, 0, 0, 0, 0x7F}}}}), Options{Model: model(input("x", tensor.Float32, -1))})
	_, err = s.Step(0)
	wantError(t, err, "got 5.486124068793689e+303 at [0] of step 1", "float32 can hold")
	for _, c := range []struct {
		d    tensor.DType
		b    []byte
		at   int
		what string
	}{
		{tensor.Float16, []byte{0xFF, 0x7B, 0, 0xFC}, 1, "Inf"}, {tensor.Float16, []byte{1, 0x7C}, 0, "NaN"},
		{tensor.BFloat16, []byte{0x7F, 0x7F, 0x80, 0x7F}, 1, "Inf"}, {tensor.BFloat16, []byte{0xC0, 0xFF}, 0, "NaN"},
		{tensor.Float8E4M3FN, []byte{0x7E, 0xFF}, 1, "NaN"}, {tensor.Float8E5M2, []byte{0x7B, 0xFC}, 1, "Inf"}, {tensor.Float8E5M2, []byte{0x7D}, 0, "NaN"},
		{tensor.Float8E4M3FZ, []byte{0x7F, 0x80}, 1, "NaN"}, {tensor.Float8E5M2FZ, []byte{0x80}, 0, "NaN"},
		{tensor.Float64, []byte{0, 0, 0, 0, 0, 0, 0xF0, 0xFF}, 0, "Inf"}, {tensor.Int32, []byte{0xFF, 0xFF, 0xFF, 0xFF}, -1, ""},
	} {
		if at, what := nonFinite(c.b, c.d); at != c.at || what != c.what {
			t.Errorf("%s % x: %q at %d, want %q at %d", c.d, c.b, what, at, c.what, c.at)
		}
	}
}

func TestLabelsAreAligned(t *testing.T) {
	path := putNpz(t, arrays{{Name: "calib_x", Tensor: rising(tensor.Float32, 5, 2)}, {Name: "calib_label", Tensor: rising(tensor.Int64, 5)},
		{Name: "short", Tensor: rising(tensor.Int64, 3)}, {Name: "one", Tensor: rising(tensor.Int64)},
		{Name: "label", Tensor: rising(tensor.Int64, 7)}}) // of another split: the prefix comes first
	s := open(t, path, Options{Model: model(input("x", tensor.Float32, -1, 2)), Prefix: "calib_", BatchSize: 2})
	for i, want := range [][]int64{{0, 1}, {2, 3}, {4}} {
		l, err := s.Aligned("label", i)
		if err != nil || !slices.Equal(numbers(t, l), want) {
			t.Errorf("step %d: %v, %v, want %d", i, l, err, want)
		}
	}
	_, err := s.Aligned("short", 0)
	wantError(t, err, `array "short"`, "int64[3]", "5 rows")
	_, err = s.Aligned("one", 0)
	wantError(t, err, `array "one"`)
	_, err = s.Aligned("none", 0)
	wantError(t, err, `no array "none"`)
	_, err = s.Aligned("label", 3)
	wantError(t, err, "step 3")
	// Rows that do not fill the model's fixed batch have no step, and their labels have none.
	s = open(t, path, Options{Model: model(input("x", tensor.Float32, 2, 2)), Prefix: "calib_"})
	if l, err := s.Aligned("label", 1); err != nil || s.Steps() != 2 || !slices.Equal(numbers(t, l), []int64{2, 3}) {
		t.Errorf("%d steps, labels %v, %v", s.Steps(), l, err)
	}
	a, err := s.Array("label")
	if err != nil || a.String() != "int64[5]" {
		t.Fatal(a, err)
	}
	if all, err := a.Tensor(); err != nil || !slices.Equal(numbers(t, all), []int64{0, 1, 2, 3, 4}) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := a.Rows(3, 6); err == nil {
		t.Error("rows past the end were read")
	}
}

func TestStepsThatAreNotThere(t *testing.T) {
	s := open(t, putNpz(t, arrays{{Name: "x", Tensor: rising(tensor.Int64, 4)}}), Options{Model: model(input("x", tensor.Int64, -1)), BatchSize: 2})
	for _, c := range [][3]int{{-1, 0, 1}, {2, 0, 1}, {0, -1, 1}, {0, 1, 0}, {0, 0, 3}} {
		if _, err := s.Batch(t.Context(), c[0], c[1], c[2]); err == nil {
			t.Errorf("step %d, rows %d to %d were read", c[0], c[1], c[2])
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Batch(ctx, 0, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	s.Close()
	if _, err := s.Step(0); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := s.Fingerprint(context.Background()); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestTheCacheHoldsWhatFits(t *testing.T) {
	files := map[string][]byte{}
	for i := range 8 {
		x := rising(tensor.Uint8, 100)
		x.Data.(tensor.Bytes)[0] = byte(i)
		files[fmt.Sprintf("%d.npz", i)] = arrays{{Name: "x", Tensor: x}}.npz(t, zip.Deflate)
	}
	in := model(input("x", tensor.Uint8, -1))
	s := open(t, put(t, files), Options{Model: in, BatchSize: 50, MaxMemory: 250})
	for i := range s.Steps() {
		step, err := s.Step(i)
		if err != nil {
			t.Fatal(err)
		}
		if first := numbers(t, step["x"])[0]; i%2 == 0 && first != int64(i/2) || i%2 == 1 && first != 50 {
			t.Errorf("step %d begins with %d", i, first)
		}
		if s.cache.size > 250 || len(s.cache.entries) > 2 {
			t.Errorf("the cache holds %d bytes", s.cache.size)
		}
	}
	s = open(t, put(t, files), Options{Model: in, BatchSize: 50, MaxMemory: 99})
	_, err := s.Step(0)
	wantError(t, err, `input "x"`, "0.npz", "unpack to 100, and 99 are allowed")
}

func TestWhatIsNoDataIsRefused(t *testing.T) {
	good := npyTensor(rising(tensor.Int64, 2))
	in := model(input("x", tensor.Int64, -1))
	for _, c := range []struct {
		name  string
		files map[string][]byte
		path  string
		words []string
	}{
		{"nothing", nil, "none.npz", []string{"none.npz"}},
		{"another kind", map[string][]byte{"a.csv": []byte("1,2")}, "a.csv", []string{"a.csv", "unknown kind of data", ".npz"}},
		{"an empty folder", nil, "", []string{"no .npz, .npy, .safetensors or .jsonl", "test_data_set_*"}},
		{"an empty .npz", map[string][]byte{"a.npz": nil}, "a.npz", []string{"a.npz", "the file is empty"}},
		{"an empty .npy", map[string][]byte{"a.npy": nil}, "a.npy", []string{"a.npy", "the file is empty"}},
		{"an empty .safetensors", map[string][]byte{"a.safetensors": nil}, "a.safetensors", []string{"a.safetensors", "cut short"}},
		{"a .safetensors without arrays", map[string][]byte{"a.safetensors": arrays{}.safetensors(t)}, "a.safetensors", []string{"no array"}},
		{"a .npz without arrays", map[string][]byte{"a.npz": arrays{}.npz(t, zip.Store)}, "a.npz", []string{"no array"}},
		{"a .npy cut short", map[string][]byte{"x.npy": good[:len(good)-1]}, "x.npy", []string{"cut short"}},
		{"a pickle", map[string][]byte{"x.npy": npyOf("|O", false, tensor.Shape{1}, []byte("\x80\x04."))}, "x.npy", []string{"x.npy", "pickle", "never loaded"}},
		{"a broken file in a folder", map[string][]byte{"x.npy": good, "y.npy": good[:20]}, "", []string{"y.npy", "cut short"}},
		{"chunks of two types", map[string][]byte{"0.npz": arrays{{Name: "x", Tensor: rising(tensor.Int64, 2)}}.npz(t, zip.Store),
			"1.npz": arrays{{Name: "x", Tensor: rising(tensor.Int32, 2)}}.npz(t, zip.Store)}, "",
			[]string{`array "x"`, "0.npz has int64[2]", "1.npz has int32[2]"}},
		{"chunks of two shapes", map[string][]byte{"0.npz": arrays{{Name: "x", Tensor: rising(tensor.Int64, 2, 3)}}.npz(t, zip.Store),
			"1.npz": arrays{{Name: "x", Tensor: rising(tensor.Int64, 2, 4)}}.npz(t, zip.Store)}, "", []string{"int64[2,3]", "int64[2,4]"}},
		{"chunks without axes", map[string][]byte{"0.npz": arrays{{Name: "x", Tensor: rising(tensor.Int64)}}.npz(t, zip.Store),
			"1.npz": arrays{{Name: "x", Tensor: rising(tensor.Int64)}}.npz(t, zip.Store)}, "", []string{"int64[]"}},
		{"test sets and nobody to decode them", map[string][]byte{"input_0.pb": nil}, "", []string{"test sets cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := put(t, c.files)
			_, err := Open(filepath.Join(dir, c.path), Options{Model: in})
			wantError(t, err, c.words...)
		})
	}
}

func TestAFileThatIsCutShortMeanwhileIsAnError(t *testing.T) {
	x := rising(tensor.Int64, 100_000)
	path := filepath.Join(put(t, map[string][]byte{"x.npy": npyTensor(x)}), "x.npy")
	s := open(t, path, Options{Model: model(input("x", tensor.Int64, -1)), BatchSize: 100_000})
	if err := os.Truncate(path, 4096); err != nil {
		t.Skip("a mapped file cannot be cut short here: ", err)
	}
	_, err := s.Step(0)
	wantError(t, err, "x.npy", "cut short")
	_, err = s.Fingerprint(context.Background())
	wantError(t, err, "x.npy", "cut short")
}

// decode reads "name dtype n" as a tensor of n rising elements: a stand-in for protobuf, which this package does not know.
func decode(b []byte) (name string, t *tensor.Tensor, err error) {
	var d, n int64
	if _, err := fmt.Sscanf(string(b), "%q %d %d", &name, &d, &n); err != nil {
		return "", nil, fmt.Errorf("no tensor: %w", err)
	}
	if n < 0 {
		return name, rising(tensor.DType(d)), nil
	}
	return name, rising(tensor.DType(d), n), nil
}

func pb(name string, d tensor.DType, n int) []byte { return fmt.Appendf(nil, "%q %d %d", name, d, n) }

func TestTestSets(t *testing.T) {
	in := model(input("x", tensor.Int64, -1), input("y", tensor.Float32, -1))
	opt := Options{Model: in, DecodePB: decode}
	dir := put(t, map[string][]byte{
		"test_data_set_10/input_0.pb": pb("x", tensor.Int64, 5), "test_data_set_10/input_1.pb": pb("y", tensor.Float32, 5),
		"test_data_set_2/input_0.pb": pb("", tensor.Int32, 3), "test_data_set_2/input_1.pb": pb("", tensor.Float32, 3),
		"test_data_set_2/output_0.pb":  []byte("nobody reads this"),
		"test_data_set_10/input_x.txt": []byte("nor this"), "model.onnx": nil,
	})
	s := open(t, dir, opt)
	if s.Steps() != 2 || s.Rows(0) != 3 || s.Rows(1) != 5 || s.Divisible() != nil || !s.Batched("x") || s.Batched("z") || s.BatchSize() != 0 {
		t.Errorf("%d steps with %d and %d rows, %v", s.Steps(), s.Rows(0), s.Rows(1), s.Divisible())
	}
	if files := s.Files(); len(files) != 5 || !slices.Contains(files, filepath.Join(dir, "test_data_set_10", "input_1.pb")) ||
		!slices.Contains(files, filepath.Join(dir, "test_data_set_2", "output_0.pb")) {
		t.Errorf("files %q", files)
	}
	part, err := s.Batch(t.Context(), 1, 2, 4)
	if err != nil || !slices.Equal(numbers(t, part["x"]), []int64{2, 3}) || !slices.Equal(numbers(t, part["y"]), []int64{2, 3}) {
		t.Errorf("%v, %v", part, err)
	}
	step, err := s.Step(0)
	if err != nil || step["x"].DType != tensor.Int64 || !slices.Equal(numbers(t, step["x"]), []int64{0, 1, 2}) {
		t.Errorf("%v, %v", step, err)
	}
	first, err := s.Fingerprint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// Names tell more than numbers.
	swapped := open(t, put(t, map[string][]byte{"input_0.pb": pb("y", tensor.Float32, 3), "input_1.pb": pb("x", tensor.Int64, 3)}), opt)
	if step, err := swapped.Step(0); err != nil || step["y"].DType != tensor.Float32 {
		t.Errorf("%v, %v", step, err)
	}
	if p, err := swapped.Fingerprint(context.Background()); err != nil || p == first {
		t.Errorf("fingerprint %s, %v", p, err)
	}
	named := open(t, put(t, map[string][]byte{"input_0.pb": pb("", tensor.Float32, 3), "input_1.pb": pb("q", tensor.Int64, 3)}),
		Options{Model: in, DecodePB: decode, Inputs: map[string]string{"x": "q", "y": "input_0"}})
	if step, err := named.Step(0); err != nil || step["y"].DType != tensor.Float32 {
		t.Errorf("%v, %v", step, err)
	}
	for _, c := range []struct {
		name  string
		files map[string][]byte
		opt   Options
		words []string
	}{
		{"an input missing", map[string][]byte{"input_0.pb": pb("x", tensor.Int64, 3)}, opt, []string{`input "y"`, `"x" int64[3]`}},
		{"a wrong type", map[string][]byte{"input_0.pb": pb("x", tensor.Int64, 3), "input_1.pb": pb("y", tensor.Int64, 3)}, opt,
			[]string{`input "y"`, "input_1.pb", "got int64[3]", "want float32[batch]"}},
		{"a wrong rank", map[string][]byte{"input_0.pb": pb("x", tensor.Int64, -1), "input_1.pb": pb("y", tensor.Float32, 3)}, opt,
			[]string{`input "x"`, "got int64[]"}},
		{"no tensor", map[string][]byte{"input_0.pb": []byte("?")}, opt, []string{"input_0.pb", "no tensor"}},
		{"an empty file", map[string][]byte{"input_0.pb": nil}, opt, []string{"input_0.pb", "the file is empty"}},
		{"an empty set", map[string][]byte{"test_data_set_0/output_0.pb": nil}, opt, []string{"test_data_set_0", "no input_0.pb"}},
		{"more steps than sets", map[string][]byte{"input_0.pb": pb("x", tensor.Int64, 3), "input_1.pb": pb("y", tensor.Float32, 3)},
			Options{Model: in, DecodePB: decode, Steps: 2}, []string{"2 steps are asked for, and the data has 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(put(t, c.files), c.opt)
			wantError(t, err, c.words...)
		})
	}
	dir = put(t, map[string][]byte{"input_0.pb": pb("x", tensor.Int64, 3), "input_1.pb": pb("y", tensor.Float32, 3), "one.pb": pb("", tensor.Int64, 2)})
	if s := open(t, filepath.Join(dir, "input_0.pb"), opt); s.Steps() != 1 || s.Rows(0) != 3 {
		t.Errorf("a file of a set: %d steps", s.Steps())
	}
	if s := open(t, filepath.Join(dir, "one.pb"), Options{Model: in[:1], DecodePB: decode}); s.Steps() != 1 || s.Rows(0) != 2 {
		t.Errorf("a file by itself: %d steps", s.Steps())
	}
	uneven := open(t, put(t, map[string][]byte{"input_0.pb": pb("x", tensor.Int64, 3), "input_1.pb": pb("y", tensor.Float32, 4)}), opt)
	if uneven.Divisible() == nil || uneven.Rows(0) != 1 {
		t.Errorf("inputs of different lengths: %d rows, %v", uneven.Rows(0), uneven.Divisible())
	}
	if step, err := uneven.Step(0); err != nil || len(numbers(t, step["y"])) != 4 {
		t.Errorf("%v, %v", step, err)
	}
}

func TestASetWithoutAModelHasArrays(t *testing.T) {
	s := open(t, putNpz(t, arrays{{Name: "labels", Tensor: rising(tensor.Int64, 3)}}), Options{})
	if s.Steps() != 0 || !slices.Equal(s.Names(), []string{"labels"}) {
		t.Errorf("%d steps, arrays %q", s.Steps(), s.Names())
	}
}

// TestArraysThatCannotBeReadAreInNobodysWay has text and Python objects beside what the model takes: only to ask for them is an error.
func TestArraysThatCannotBeReadAreInNobodysWay(t *testing.T) {
	in := []*graph.Value{named("x", tensor.Float32, "n", 2)}
	good := npyOf("<f4", false, tensor.Shape{3, 2}, make([]byte, 24))
	text, objects := npyOf("<U1", false, tensor.Shape{3}, make([]byte, 12)), npyOf("|O", false, tensor.Shape{1}, []byte("\x80\x04."))
	dir := put(t, map[string][]byte{"x.npy": good, "names.npy": text, "objects.npy": objects})
	s, err := Open(dir, Options{Model: in})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Step(0); err != nil || s.Steps() != 3 {
		t.Errorf("%d steps, %v", s.Steps(), err)
	}
	_, err = s.Aligned("names", 0)
	wantError(t, err, `array "names"`, "names.npy", "strings")
	_, err = Open(dir, Options{Model: in, Inputs: map[string]string{"x": "objects"}})
	wantError(t, err, `input "x"`, `array "objects"`, "pickle")
	_, err = Open(dir, Options{Model: in, Inputs: map[string]string{"x": "other"}})
	wantError(t, err, `no array "other"`, `"names", which cannot be read`)
}

func TestFilesOfAFolderAreInTheOrderOfTheirNumbers(t *testing.T) {
	one := func(v int64) []byte {
		return arrays{{Name: "x", Tensor: &tensor.Tensor{DType: tensor.Int64, Shape: tensor.Shape{1}, Data: tensor.Bytes(appendNumber(nil, tensor.Int64, v))}}}.npz(t, zip.Store)
	}
	dir := put(t, map[string][]byte{"0.npz": one(0), "1.npz": one(1), "2.npz": one(2), "10.npz": one(10), "11.npz": one(11), "a2.npz": one(102), "a010.npz": one(110),
		"a99999999999999999999999.npz": one(199)})
	s := open(t, dir, Options{Model: model(input("x", tensor.Int64, -1)), BatchSize: 8})
	step, err := s.Step(0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := numbers(t, step["x"]), []int64{0, 1, 2, 10, 11, 102, 110, 199}; !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	if files := s.Files(); len(files) != 8 || files[3] != filepath.Join(dir, "10.npz") {
		t.Errorf("files %q", files)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"a1", "a01", 1}, {"a", "a1", -1}, {"x", "x", 0}, {"1a", "a1", -1}, {"2", "10", -1}, {"1.9", "1.10", -1}} {
		if got := natural(c.a, c.b); got != c.want || natural(c.b, c.a) != -c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestANumberThatFloat32CannotHoldIsNamed(t *testing.T) {
	for _, v := range []float64{1e300, -1e300, 3.5e38} {
		x := rising(tensor.Float64, 3, 2)
		binary.LittleEndian.PutUint64(x.Data.(tensor.Bytes)[5*8:], math.Float64bits(v))
		s := open(t, putNpz(t, arrays{{Name: "x", Tensor: x}}), Options{Model: model(input("x", tensor.Float32, -1, 2)), BatchSize: 2})
		_, err := s.Step(1)
		wantError(t, err, fmt.Sprintf("got %g at [0,1] of step 2, want numbers that float32 can hold: at most 3.4028234663852886e+38", v))
	}
}
