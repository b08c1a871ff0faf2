package verify

import (
	"fmt"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func float64s(v ...float64) *tensor.Tensor {
	var b []byte
	for _, x := range v {
		b = le.AppendUint64(b, math.Float64bits(x))
	}
	return &tensor.Tensor{DType: tensor.Float64, Shape: tensor.Shape{int64(len(v))}, Data: tensor.Bytes(b)}
}

// between is the error of what a model gave in batches of one tensor.
func between(t *testing.T, pairs ...[2]*tensor.Tensor) Error {
	t.Helper()
	var a accumulator
	for _, p := range pairs {
		if err := a.add(p[0], p[1]); err != nil {
			t.Fatal(err)
		}
	}
	return a.error()
}

// TestFloat64sOfAnySize multiplies both sides by powers of ten that float32 does not hold, and whose squares float64 does not.
func TestFloat64sOfAnySize(t *testing.T) {
	for _, by := range []float64{1, 1e60, 1e-60, 1e200, 1e-200, 1e300, 1e-300} {
		e := between(t, [2]*tensor.Tensor{float64s(3*by, 4*by, 0), float64s(3*by, 4.5*by, 0)}, [2]*tensor.Tensor{float64s(12 * by), float64s(12 * by)})
		if want := 10 * math.Log10(169/0.25); math.Abs(e.SQNR-want) > 1e-9 || e.NonFinite != 0 {
			t.Errorf("×%g: SQNR %v with %d not finite, want %v", by, e.SQNR, e.NonFinite, want)
		}
		if want := 171 / math.Sqrt(169*173.25); math.Abs(e.Cosine-want) > 1e-12 {
			t.Errorf("×%g: cosine %v, want %v", by, e.Cosine, want)
		}
		if math.Abs(e.MaxAbs/by-0.5) > 1e-12 {
			t.Errorf("×%g: largest error %v, want %v", by, e.MaxAbs, 0.5*by)
		}
	}
}

func TestElementsOfVeryDifferentSize(t *testing.T) {
	for _, v := range [][]float64{{1e-300, 1e300}, {1e300, 1e-300}, {5e-324, 1, math.MaxFloat64}} {
		half := make([]float64, len(v))
		for i := range v {
			half[i] = v[i] / 2
		}
		e := between(t, [2]*tensor.Tensor{float64s(v...), float64s(half...)})
		if want := 10 * math.Log10(4); math.Abs(e.SQNR-want) > 1e-9 || math.Abs(e.Cosine-1) > 1e-12 {
			t.Errorf("%v against half of it: got %+v, want %v dB", v, e, want)
		}
	}
	opposite := between(t, [2]*tensor.Tensor{float64s(math.MaxFloat64), float64s(-math.MaxFloat64)})
	if want := 10 * math.Log10(0.25); math.Abs(opposite.SQNR-want) > 1e-9 {
		t.Errorf("the largest float64 and its negative: %v dB, want %v", opposite.SQNR, want)
	}
}

func TestGateOfExtremeOutputs(t *testing.T) {
	limit := 20.0
	for _, c := range []struct {
		name      string
		want, got *tensor.Tensor
		met       bool
	}{
		{"small values, wrong", float64s(1e-60, 2e-60), float64s(2e-60, 1e-60), false},
		{"tiny values, wrong", float64s(1e-200, 2e-200), float64s(2e-200, 1e-200), false},
		{"the least value there is, lost", float64s(5e-324), float64s(0), false},
		{"zero, which became the least value there is", float64s(0), float64s(5e-324), false},
		{"large values, right", float64s(1e60, 2e60), float64s(1e60, 2e60), true},
		{"large values, wrong", float64s(1e60, 2e60), float64s(2e60, 1e60), false},
		{"zero on both sides", float64s(0, 0), float64s(0, 0), true},
		{"NaN on both sides", float64s(math.NaN()), float64s(math.NaN()), true},
		{"NaN on one side", float64s(1), float64s(math.NaN()), false},
	} {
		m := &Measured{Outputs: []Named{{Name: "y", Error: between(t, [2]*tensor.Tensor{c.want, c.got})}}}
		if failed := (Gates{MinSQNR: &limit}).Check(m); (len(failed) == 0) != c.met {
			t.Errorf("%s: %+v against %g dB gives %v, want met %t", c.name, m.Outputs[0].Error, limit, failed, c.met)
		}
	}
	nan := math.NaN()
	if len((Gates{MinSQNR: &nan}).Check(&Measured{Outputs: []Named{{Name: "y", Error: Error{SQNR: 30, MaxAbs: 1}}}})) != 1 {
		t.Error("a limit that is NaN is kept by 30 dB, want by nothing")
	}
}

func TestRowsWithoutALargestLogitAreWrong(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name string
		row  []float32
		want int64
	}{
		{"nothing but NaN", []float32{nan, nan}, 0},
		{"a NaN after the largest", []float32{1, nan}, 0},
		{"a NaN before the largest", []float32{nan, 1}, 0},
		{"nothing but −Inf", []float32{-inf, -inf}, 0},
		{"one that is not −Inf", []float32{2, -inf}, 1},
		{"equals", []float32{1, 1}, 1},
	} {
		for label := range int64(2) {
			m, err := Judge(tensor.Float32s(tensor.Shape{1, 2}, c.row...), tensor.Int64s(tensor.Shape{1}, label))
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if label != 0 {
				want = 0
			}
			if m.Correct != want {
				t.Errorf("%s, label %d: %d correct, want %d", c.name, label, m.Correct, want)
			}
		}
	}
	all, err := Judge(tensor.Float32s(tensor.Shape{2, 2}, nan, nan, nan, nan), tensor.Int64s(tensor.Shape{2}, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	drop := 0.1
	m := &Measured{Before: &Metric{Rows: 2, Correct: 2}, After: &all}
	if got := (Gates{MaxAccuracyDrop: &drop}).Check(m); len(got) != 1 {
		t.Errorf("a model that gives NaN keeps a limit of %g on the accuracy: %v", drop, got)
	}
}

func TestLabelsOfEveryIntegerType(t *testing.T) {
	logits := tensor.Float32s(tensor.Shape{2, 3}, 1, 2, 3, 6, 5, 4)
	for d, bytes := range map[tensor.DType]int{tensor.Int8: 1, tensor.Uint8: 1, tensor.Int16: 2, tensor.Uint16: 2, tensor.Int32: 4,
		tensor.Uint32: 4, tensor.Int64: 8, tensor.Uint64: 8} {
		of := func(v ...uint64) *tensor.Tensor {
			var b []byte
			for _, x := range v {
				b = append(b, le.AppendUint64(nil, x)[:bytes]...)
			}
			return &tensor.Tensor{DType: d, Shape: tensor.Shape{2}, Data: tensor.Bytes(b)}
		}
		m, err := Judge(logits, of(2, 0))
		if err != nil || m.Rows != 2 || m.Correct != 2 {
			t.Errorf("%s: %+v, %v, want two rows, both correct", d, m, err)
		}
		m, err = Judge(logits, of(math.MaxUint64, 0)) // -1, or the largest of the type
		if signed := d == tensor.Int8 || d == tensor.Int16 || d == tensor.Int32 || d == tensor.Int64; signed && (err != nil || m.Rows != 1) {
			t.Errorf("%s: %+v, %v, want the row of label -1 left out", d, m, err)
		} else if !signed && err == nil {
			t.Errorf("%s: the largest label there is gives %+v, want an error", d, m)
		}
	}
	for _, labels := range []*tensor.Tensor{tensor.Bools(tensor.Shape{2}, true, false), tensor.Float32s(tensor.Shape{2}, 0, 1), float64s(0, 1)} {
		_, err := Judge(logits, labels)
		if want := fmt.Sprintf("labels: got %s, want an integer type of 8 to 64 bits", labels.DType); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", labels.DType, err, want)
		}
	}
}
