package tensor

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// computed is content that exists only when it is written.
type computed struct {
	size int64
	err  error
}

func (c computed) Size() int64 { return c.size }

func (c computed) WriteTo(w io.Writer) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := w.Write(bytes.Repeat([]byte{7}, int(c.size)))
	return int64(n), err
}

func wantError(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want one with %q", what, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not say %q", what, err, w)
		}
	}
}

func TestByteSizeRoundsUpToWholeBytes(t *testing.T) {
	for _, c := range []struct {
		d       DType
		n, want int64
	}{
		{Float32, 0, 0}, {Float32, 3, 12}, {Complex128, 2, 32}, {Bool, 5, 5}, {Float8E4M3FN, 5, 5},
		{Int4, 1, 1}, {Uint4, 2, 1}, {Float4E2M1, 3, 2}, {Int2, 4, 1}, {Uint2, 5, 2},
		{Uint8, 1 << 59, 1 << 59}, {Float64, 1 << 56, 1 << 59},
	} {
		if got, err := c.d.ByteSize(c.n); err != nil || got != c.want {
			t.Errorf("%d elements of %s: got %d, %v, want %d", c.n, c.d, got, err, c.want)
		}
	}
}

func TestByteSizeRefusesWhatHasNone(t *testing.T) {
	for _, c := range []struct {
		d    DType
		n    int64
		word string
	}{
		{String, 1, "string"}, {Undefined, 1, "dtype(0)"}, {DType(99), 1, "dtype(99)"},
		{Float32, -1, "-1 elements"}, {Float64, math.MaxInt64, "overflows"}, {Float64, 1<<56 + 1, "overflows"}, {Int2, math.MaxInt64, "overflows"},
	} {
		_, err := c.d.ByteSize(c.n)
		wantError(t, c.d.String(), err, c.word)
	}
}

func TestEveryKnownTypeHasANameAndAllButStringsAWidth(t *testing.T) {
	names := map[string]DType{}
	for d := Float32; d <= Int2; d++ {
		if !d.Known() || strings.HasPrefix(d.String(), "dtype(") || (d.Bits() == 0) != (d == String) {
			t.Errorf("type %d: known %v, name %q, %d bits", d, d.Known(), d, d.Bits())
		}
		if other, twice := names[d.String()]; twice {
			t.Errorf("types %d and %d are both called %q", other, d, d)
		}
		names[d.String()] = d
		if d.IsFloat8() != (strings.HasPrefix(d.String(), "float8e4") || strings.HasPrefix(d.String(), "float8e5")) {
			t.Errorf("%s: IsFloat8 %v", d, d.IsFloat8())
		}
	}
	if Undefined.Known() || (Int2 + 1).Known() {
		t.Error("a type outside the list is known")
	}
}

func TestElements(t *testing.T) {
	for _, c := range []struct {
		s    Shape
		want int64
	}{{nil, 1}, {Shape{}, 1}, {Shape{2, 3}, 6}, {Shape{0}, 0}, {Shape{1 << 40, 0, 1 << 40}, 0}, {Shape{1 << 31, 1 << 31}, 1 << 62}} {
		if got, err := c.s.Elements(); err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.s, got, err, c.want)
		}
	}
	for _, c := range []struct {
		s    Shape
		word string
	}{{Shape{2, -1}, "axis 1 is negative"}, {Shape{0, -1}, "axis 1 is negative"}, {Shape{1 << 31, 1 << 32}, "overflows"},
		{Shape{math.MaxInt64, math.MaxInt64}, "overflows"}} {
		_, err := c.s.Elements()
		wantError(t, c.s.String(), err, c.s.String(), c.word)
	}
	if n := (&Tensor{DType: Float32, Shape: Shape{-1}}).Elements(); n != 0 {
		t.Errorf("a tensor of a wrong shape has %d elements, want 0", n)
	}
}

func TestShapesAreEqualAxisByAxis(t *testing.T) {
	s := Shape{2, 3}
	c := s.Clone()
	c[0] = 5
	if s[0] != 2 || s.Equal(c) || s.Equal(Shape{2}) || s.Equal(Shape{2, 3, 1}) || !s.Equal(Shape{2, 3}) || !Shape(nil).Equal(Shape{}) {
		t.Errorf("%s and its changed clone %s", s, c)
	}
	if s.String() != "[2,3]" || Shape(nil).String() != "[]" {
		t.Errorf("spelled %s and %s", s, Shape(nil))
	}
}

func TestNewRefusesContentThatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		d     DType
		s     Shape
		size  int
		words []string
	}{
		{Float32, Shape{2, 3}, 23, []string{"float32[2,3]", "got 23 bytes", "want 24"}},
		{Int4, Shape{3}, 1, []string{"int4[3]", "got 1 bytes", "want 2"}},
		{Float32, Shape{}, 0, []string{"float32[]", "want 4"}},
		{Float32, Shape{-2}, 8, []string{"negative"}},
		{Float64, Shape{1 << 58}, 0, []string{"overflows"}},
		{String, Shape{1}, 1, []string{"no fixed width"}},
	} {
		_, err := New(c.d, c.s, Bytes(make([]byte, c.size)))
		wantError(t, c.d.String()+c.s.String(), err, c.words...)
	}
	x, err := New(Int4, Shape{3}, Bytes{0x21, 0x03})
	if err != nil || x.Elements() != 3 || x.Size() != 2 {
		t.Errorf("int4[3]: %+v, %v", x, err)
	}
}

func TestReadersGiveBackWhatTheMakersTook(t *testing.T) {
	nan := math.Float32frombits(0x7FA00001)
	in := []float32{0, float32(math.Copysign(0, -1)), -1.5, float32(math.Inf(1)), nan}
	f := Float32s(Shape{5}, in...)
	in[2] = 9 // the tensor has a copy
	got, err := f.AsFloat32s()
	if err != nil || len(got) != 5 {
		t.Fatal(got, err)
	}
	for i, want := range []uint32{0, 0x80000000, 0xBFC00000, 0x7F800000, 0x7FA00001} {
		if b := math.Float32bits(got[i]); b != want {
			t.Errorf("element %d: %#08x, want %#08x", i, b, want)
		}
	}
	if v, err := Int64s(Shape{2}, math.MinInt64, 3).AsInt64s(); err != nil || !slices.Equal(v, []int64{math.MinInt64, 3}) {
		t.Errorf("int64: %d, %v", v, err)
	}
	narrow := &Tensor{DType: Int32, Shape: Shape{2}, Data: Bytes{0xFE, 0xFF, 0xFF, 0xFF, 4, 0, 0, 0}}
	if v, err := narrow.AsInt64s(); err != nil || !slices.Equal(v, []int64{-2, 4}) {
		t.Errorf("int32: %d, %v", v, err)
	}
	for _, want := range []bool{false, true} {
		if v, err := Bools(nil, want).AsBool(); err != nil || v != want {
			t.Errorf("bool: %v, %v", v, err)
		}
	}
}

func TestReadersRefuseOtherTypes(t *testing.T) {
	f, n, b := Float32s(nil, 1), Int64s(nil, 1), Bools(Shape{2}, true, false)
	_, err := n.AsFloat32s()
	wantError(t, "int64 as float32", err, "got int64", "want float32")
	_, err = f.AsInt64s()
	wantError(t, "float32 as int64", err, "got float32", "want int64")
	_, err = b.AsBool()
	wantError(t, "two bools", err, "bool[2]", "want one bool")
	_, err = (&Tensor{DType: Uint8, Data: Bytes{1}}).AsBool()
	wantError(t, "uint8 as bool", err, "uint8", "want one bool")
	for _, d := range []DType{Float32, Int64, Bool} {
		empty := &Tensor{DType: d}
		_, f := empty.AsFloat32s()
		_, i := empty.AsInt64s()
		_, b := empty.AsBool()
		if f == nil || i == nil || b == nil || empty.Size() != 0 {
			t.Errorf("%s without data: %v, %v, %v, %d bytes", d, f, i, b, empty.Size())
		}
	}
}

func TestBytesAreTheViewOrComputed(t *testing.T) {
	view := Bytes{1, 2}
	b, err := (&Tensor{DType: Uint8, Shape: Shape{2}, Data: view}).Bytes()
	if err != nil || &b[0] != &view[0] {
		t.Errorf("content in memory was copied, %v", err)
	}
	x, err := New(Uint8, Shape{3}, computed{size: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if b, err := x.Bytes(); err != nil || !bytes.Equal(b, []byte{7, 7, 7}) {
			t.Errorf("computed content: %v, %v", b, err)
		}
	}
	broken := errors.New("disk is gone")
	if _, err := (&Tensor{DType: Uint8, Shape: Shape{1}, Data: computed{1, broken}}).Bytes(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	var out bytes.Buffer
	if n, err := view.WriteTo(&out); n != 2 || err != nil || !bytes.Equal(out.Bytes(), view) {
		t.Errorf("wrote %d bytes %v, %v", n, out.Bytes(), err)
	}
}
